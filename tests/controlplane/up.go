package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// up runs the parts of one cluster as children and does what lines on stdin say, with one line of JSON on stdout for each:
//
//	start PART    stop PART    kill PART    pause PART    resume PART    ready    status    quit
//
// The end of stdin ends everything too; with --temporary it also removes the directory, because whoever had it is gone.
// Children that end by themselves stay down: a test that kills a part wants it down.
// The parts are this process's children, not the test's, and see nothing of the test's environment.
const (
	readySeconds = 60
	stopSeconds  = 5
)

var order = []string{"etcd", "apiserver", "controllers", "scheduler", "node"}

func up(arguments []string) error {
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	directory := flags.String("directory", "", "where the cluster lives")
	parts := flags.String("parts", strings.Join(order, ","), "which parts to start")
	nodes := flags.Int("nodes", 1, "how many nodes there are")
	temporary := flags.Bool("temporary", false, "remove the directory when stdin ends without a quit")
	_ = flags.Parse(arguments)
	made, err := prepare(*directory, *nodes)
	if err != nil {
		return err
	}
	cluster := newSupervisor(made)
	defer cluster.end()
	for _, part := range strings.Split(*parts, ",") {
		if err := cluster.start(part); err != nil {
			return err
		}
	}
	tell(cluster, cluster.ready())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "quit" {
			return nil
		}
		tell(cluster, cluster.perform(strings.Fields(lines.Text())))
	}
	cluster.end()
	if *temporary {
		return os.RemoveAll(*directory)
	}
	return nil
}

func tell(cluster *supervisor, err error) {
	answer := map[string]any{"server": cluster.layout.server(), "parts": cluster.pids()}
	if err != nil {
		answer["error"] = err.Error()
	}
	line, _ := json.Marshal(answer)
	fmt.Println(string(line))
}

type supervisor struct {
	layout   *layout
	client   *http.Client
	lock     sync.Mutex
	children map[string]*child
}

type child struct {
	process *os.Process
	ended   chan struct{}
}

func newSupervisor(made *layout) *supervisor {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	return &supervisor{
		layout:   made,
		client:   &http.Client{Transport: transport, Timeout: 5 * time.Second},
		children: map[string]*child{},
	}
}

func (cluster *supervisor) perform(words []string) error {
	if len(words) == 1 && words[0] == "ready" {
		return cluster.ready()
	}
	if len(words) == 1 && words[0] == "status" {
		return nil
	}
	if len(words) != 2 || !slices.Contains(order, words[1]) {
		return fmt.Errorf("not understood: %q", words)
	}
	switch part := words[1]; words[0] {
	case "start":
		return cluster.start(part)
	case "stop":
		return cluster.stop(part)
	case "kill":
		return cluster.signal(part, syscall.SIGKILL, true)
	case "pause":
		return cluster.signal(part, syscall.SIGSTOP, false)
	case "resume":
		return cluster.signal(part, syscall.SIGCONT, false)
	default:
		return fmt.Errorf("not understood: %q", words)
	}
}

func (cluster *supervisor) start(part string) error {
	if cluster.running(part) != nil {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(cluster.layout.path("log", part+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	command := exec.Command(program, append([]string{part}, cluster.layout.flags()[part]...)...)
	command.Dir, command.Stdout, command.Stderr = cluster.layout.directory, log, log
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cluster.layout.directory, lifelineVariable + "=3"}
	command.ExtraFiles = []*os.File{theirs}
	if err := command.Start(); err != nil {
		_ = ours.Close()
		return err
	}
	made := &child{command.Process, make(chan struct{})}
	cluster.lock.Lock()
	cluster.children[part] = made
	cluster.lock.Unlock()
	go func() {
		_ = command.Wait()
		_ = ours.Close()
		close(made.ended)
	}()
	if part == "etcd" {
		cluster.awaitSocket(made)
	}
	return nil
}

// awaitSocket keeps the API server from asking too early: it would then wait for a second before it asks again.
func (cluster *supervisor) awaitSocket(etcd *child) {
	for deadline := time.Now().Add(readySeconds * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if connection, err := net.Dial("unix", cluster.layout.path(etcdSocket)); err == nil {
			_ = connection.Close()
			return
		}
		select {
		case <-etcd.ended:
			return
		default:
		}
	}
}

// running is the child for a part, or nil when there is none any more.
func (cluster *supervisor) running(part string) *child {
	cluster.lock.Lock()
	defer cluster.lock.Unlock()
	known := cluster.children[part]
	if known == nil {
		return nil
	}
	select {
	case <-known.ended:
		return nil
	default:
		return known
	}
}

func (cluster *supervisor) signal(part string, number syscall.Signal, wait bool) error {
	known := cluster.running(part)
	if known == nil {
		return errors.New(part + " is not running")
	}
	if err := known.process.Signal(number); err != nil {
		return err
	}
	if wait {
		<-known.ended
	}
	return nil
}

func (cluster *supervisor) stop(part string) error {
	known := cluster.running(part)
	if known == nil {
		return nil
	}
	_ = known.process.Signal(syscall.SIGTERM)
	_ = known.process.Signal(syscall.SIGCONT)
	select {
	case <-known.ended:
	case <-time.After(stopSeconds * time.Second):
		_ = known.process.Kill()
		<-known.ended
	}
	return nil
}

// end takes the parts down at once, the API server's clients first. Nothing of theirs needs a farewell: etcd keeps what was written.
func (cluster *supervisor) end() {
	for _, part := range slices.Backward(order) {
		if known := cluster.running(part); known != nil {
			_ = known.process.Kill()
			<-known.ended
		}
	}
}

func (cluster *supervisor) pids() map[string]int {
	found := map[string]int{}
	for _, part := range order {
		if known := cluster.running(part); known != nil {
			found[part] = known.process.Pid
		}
	}
	return found
}

// ready waits until what runs also works: the API server answers, a namespace would get its ServiceAccount, the nodes are Ready.
func (cluster *supervisor) ready() error {
	limit, cancel := context.WithTimeout(context.Background(), readySeconds*time.Second)
	defer cancel()
	started := cluster.pids()
	type question struct{ part, path, answer string }
	questions := []question{{"apiserver", "/readyz", "ok"}}
	questions = append(questions, question{"controllers", "/api/v1/namespaces/default/serviceaccounts/default", `"kind":"ServiceAccount"`})
	for number := range cluster.layout.Nodes {
		questions = append(questions, question{"node", "/api/v1/nodes/" + nodeName(number), `"reason":"KubeletReady"`})
	}
	for _, asked := range questions {
		if started["apiserver"] == 0 || started[asked.part] == 0 {
			continue
		}
		for !cluster.answers(limit, asked.path, asked.answer) {
			if err := cluster.disappointment(limit, started, asked.path); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func (cluster *supervisor) disappointment(limit context.Context, started map[string]int, path string) error {
	for part := range started {
		if cluster.running(part) == nil {
			return fmt.Errorf("%s has ended; %s says why", part, cluster.layout.path("log", part+".log"))
		}
	}
	if limit.Err() != nil {
		return fmt.Errorf("after %d s there is still no good answer to %s; see %s", readySeconds, path, cluster.layout.path("log"))
	}
	return nil
}

func (cluster *supervisor) answers(limit context.Context, path, expected string) bool {
	request, err := http.NewRequestWithContext(limit, http.MethodGet, cluster.layout.server()+path, nil)
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+componentsToken)
	response, err := cluster.client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response.StatusCode == http.StatusOK && strings.Contains(string(body), expected)
}
