// Command controlplane is a Kubernetes control plane for tests, as one program: etcd, the API server, the controllers, the scheduler
// and a node agent that only pretends to run pods. The first argument says which of them this process is:
//
//	up                        all of them, as children of this process, with commands on stdin (see up.go)
//	etcd, node                our own thin parts (etcd.go, node.go)
//	token                     none of them: prints a token that expires soon (token.go)
//	apiserver, controllers, scheduler
//	                          the real ones, with their own flags
//
// One program, because the parts share most of their code: five programs would take five times the disk and the time to link.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// lifelineVariable names the file descriptor whose other end the parent holds. It closes when the parent ends, however it ends.
const lifelineVariable = "CONTROLPLANE_LIFELINE"

var parts = map[string]func(arguments []string) error{
	"up":          up,
	"etcd":        runEtcd,
	"node":        runNode,
	"token":       printToken,
	"apiserver":   real(apiserver.NewAPIServerCommand),
	"controllers": real(controllers.NewControllerManagerCommand),
	"scheduler":   real(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
}

func main() {
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: controlplane up|etcd|apiserver|controllers|scheduler|node|token [flags]")
		os.Exit(2)
	}
	endWithParent()
	if err := parts[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "controlplane %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// real runs one of Kubernetes' own commands. It is made only when it is asked for: making one registers flags and feature gates.
func real(command func() *cobra.Command) func([]string) error {
	return func(arguments []string) error {
		made := command()
		made.SetArgs(arguments)
		if code := cli.Run(made); code != 0 {
			return errors.New("ended with status " + strconv.Itoa(code))
		}
		return nil
	}
}

// endWithParent makes sure that nothing outlives a test run, not even one that was killed.
func endWithParent() {
	number, err := strconv.Atoi(os.Getenv(lifelineVariable))
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(uintptr(number), "lifeline"))
		os.Exit(1)
	}()
}
