package main

import (
	"flag"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd is an etcd of one member that never syncs to the disk: a killed process loses nothing, because the kernel still has what it
// wrote, and only a power cut could. Tests need the first and are three times as fast without the second.
func runEtcd(arguments []string) error {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	directory := flags.String("directory", "", "where the data is kept")
	listen := flags.String("listen", "", "the URL that clients use")
	peers := flags.String("peers", "", "the URL that other members would use")
	_ = flags.Parse(arguments)

	config := embed.NewConfig()
	config.Name = "test"
	config.Dir = *directory
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.WarningUnaryRequestDuration = time.Second // its zero value means every request
	config.SnapshotCount = 10_000
	config.QuotaBackendBytes = 4 << 30
	config.AutoCompactionMode = "periodic"
	config.AutoCompactionRetention = "30m"
	config.ListenClientUrls, config.AdvertiseClientUrls = address(*listen), address(*listen)
	config.ListenPeerUrls, config.AdvertisePeerUrls = address(*peers), address(*peers)
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// The defaults suit machines apart; a lone member has nobody to wait for before it elects itself.
	config.TickMs, config.ElectionMs = 10, 100

	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stop:
		// Watches of an API server that is still there would hold up a polite end for ever.
		time.AfterFunc(time.Second, func() { os.Exit(0) })
		server.Close()
		return nil
	case err := <-server.Err():
		return err
	}
}

func address(text string) []url.URL {
	parsed, err := url.Parse(text)
	if err != nil {
		return nil
	}
	return []url.URL{*parsed}
}
