package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// layout says where the things of one cluster are and which flags its parts get. The directory is the cluster: started on the same
// directory again, it has the same objects, address and keys. All paths are relative to it, and it is every part's working directory,
// so that etcd can listen on sockets in it whose paths would otherwise be too long.
type layout struct {
	directory   string
	Port        int `json:"port"`
	KubeletPort int `json:"kubeletPort"`
	Nodes       int `json:"nodes"`
}

const (
	adminToken      = "admin-token"
	nobodyToken     = "nobody-token"
	componentsToken = "components-token"
	issuer          = "https://kubernetes.default.svc"
	etcdSocket      = "etcd.sock:0" // etcd wants an address to have a port, also where it is the name of a file
	peersSocket     = "peers.sock:0"
)

// prepare makes a directory fit for a cluster, or reads back what an earlier start has made of it.
func prepare(directory string, nodes int) (*layout, error) {
	made := &layout{directory: directory, Nodes: nodes}
	for _, folder := range []string{"", "keys", "log"} {
		if err := os.MkdirAll(filepath.Join(directory, folder), 0o700); err != nil {
			return nil, err
		}
	}
	if err := prepareKeys(filepath.Join(directory, "keys")); err != nil {
		return nil, err
	}
	if written, err := os.ReadFile(filepath.Join(directory, "layout.json")); err == nil {
		return made, json.Unmarshal(written, made)
	}
	made.Port, made.KubeletPort = freePort(), freePort()
	written, _ := json.Marshal(made)
	tokens := fmt.Sprintf("%s,admin,1,\"system:masters\"\n%s,nobody,2\n%s,components,3,\"system:masters\"\n", adminToken, nobodyToken, componentsToken)
	for name, content := range map[string]string{
		"tokens.csv":             tokens,
		"kubeconfig":             made.kubeconfig("admin", map[string]string{"token": adminToken}),
		"kubeconfig.nobody":      made.kubeconfig("nobody", map[string]string{"token": nobodyToken}),
		"kubeconfig.components":  made.kubeconfig("components", map[string]string{"token": componentsToken}),
		"kubeconfig.certificate": made.kubeconfig("admin", made.clientCertificate("admin")),
	} {
		if err := os.WriteFile(made.path(name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	// Last: its presence says that the others are there.
	return made, os.WriteFile(made.path("layout.json"), written, 0o600)
}

// freePort looks below the ports that the kernel gives to connections that go out: one from there could be taken while an API server
// that had it is down.
func freePort() int {
	for {
		port := 20_000 + rand.IntN(12_000)
		if listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			_ = listener.Close()
			return port
		}
	}
}

func (made *layout) server() string { return "https://127.0.0.1:" + strconv.Itoa(made.Port) }

func (made *layout) path(names ...string) string {
	return filepath.Join(append([]string{made.directory}, names...)...)
}

func (made *layout) encoded(name string) string {
	content, _ := os.ReadFile(made.path("keys", name))
	return base64.StdEncoding.EncodeToString(content)
}

func (made *layout) clientCertificate(name string) map[string]string {
	return map[string]string{
		"client-certificate-data": made.encoded(name + ".crt"),
		"client-key-data":         made.encoded(name + ".key"),
	}
}

// kubeconfig is written as JSON, which is YAML too.
func (made *layout) kubeconfig(user string, credentials map[string]string) string {
	type object = map[string]any
	content, _ := json.MarshalIndent(object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": "test",
		"clusters": []object{{"name": "test", "cluster": object{
			"server": made.server(), "certificate-authority-data": made.encoded("ca.crt"),
		}}},
		"users":    []object{{"name": user, "user": credentials}},
		"contexts": []object{{"name": "test", "context": object{"cluster": "test", "user": user}}},
	}, "", "  ")
	return string(content) + "\n"
}

// flags are those of a cluster that people run, as far as one machine allows; defaults are left alone otherwise.
func (made *layout) flags() map[string][]string {
	return map[string][]string{
		"etcd": {"--directory=etcd", "--listen=unix://" + etcdSocket, "--peers=unix://" + peersSocket},
		"apiserver": {
			"--etcd-servers=unix://" + etcdSocket,
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(made.Port),
			// A loopback address may not stand in Endpoints, and the Service "kubernetes" needs none here.
			"--endpoint-reconciler-type=none",
			"--service-cluster-ip-range=10.96.0.0/12",
			"--tls-cert-file=keys/server.crt", "--tls-private-key-file=keys/server.key",
			"--client-ca-file=keys/ca.crt",
			"--token-auth-file=tokens.csv",
			"--authorization-mode=Node,RBAC",
			"--service-account-issuer=" + issuer,
			"--service-account-key-file=keys/service-accounts.pub",
			"--service-account-signing-key-file=keys/service-accounts.key",
			"--kubelet-client-certificate=keys/kubelet-client.crt", "--kubelet-client-key=keys/kubelet-client.key",
			"--kubelet-certificate-authority=keys/ca.crt",
			"--kubelet-preferred-address-types=InternalIP",
			"--requestheader-client-ca-file=keys/ca.crt",
			"--requestheader-allowed-names=front-proxy",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=keys/proxy-client.crt", "--proxy-client-key-file=keys/proxy-client.key",
			"--profiling=false",
		},
		"controllers": {
			"--kubeconfig=kubeconfig.components",
			"--authentication-skip-lookup", "--secure-port=0", "--leader-elect=false", "--profiling=false",
			"--service-account-private-key-file=keys/service-accounts.key",
			"--root-ca-file=keys/ca.crt",
			"--cluster-signing-cert-file=keys/ca.crt", "--cluster-signing-key-file=keys/ca.key",
			// The default of 20 requests a second makes tests wait, and shows nothing about what is tested.
			"--kube-api-qps=1000", "--kube-api-burst=2000",
		},
		"scheduler": {
			"--kubeconfig=kubeconfig.components",
			"--authentication-skip-lookup", "--secure-port=0", "--leader-elect=false", "--profiling=false",
			"--kube-api-qps=1000", "--kube-api-burst=2000",
		},
		"node": {
			"--kubeconfig=kubeconfig.components", "--nodes=" + strconv.Itoa(made.Nodes), "--port=" + strconv.Itoa(made.KubeletPort),
			"--certificate=keys/server.crt", "--key=keys/server.key", "--authority=keys/ca.crt",
		},
	}
}
