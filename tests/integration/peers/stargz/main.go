// The stargz snapshotter as a daemon of its own: the library's file system and snapshotter, served over gRPC.
// Registries on loopback are spoken to over plain HTTP. Nothing is prefetched, so that the registry's log shows
// only what was really read.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/reference"
	"github.com/containerd/containerd/remotes/docker"
	"github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/source"
	"github.com/containerd/stargz-snapshotter/snapshot"
	"google.golang.org/grpc"
)

func main() {
	root := flag.String("root", "", "folder for all data")
	address := flag.String("address", "", "Unix socket to serve")
	flag.Parse()
	if err := serve(*root, *address); err != nil {
		log.Fatal(err)
	}
}

func serve(root, address string) error {
	registries := docker.ConfigureDefaultRegistries(
		docker.WithPlainHTTP(docker.MatchLocalhost),
		// The library dereferences the transport, so it must not be the implied one.
		docker.WithClient(&http.Client{Transport: http.DefaultTransport}),
	)
	hosts := func(image reference.Spec) ([]docker.RegistryHost, error) { return registries(image.Hostname()) }
	settings := config.Config{NoPrefetch: true, NoBackgroundFetch: true, NoPrometheus: true}
	filesystem, err := fs.NewFilesystem(filepath.Join(root, "stargz"), settings,
		fs.WithGetSources(source.FromDefaultLabels(hosts)))
	if err != nil {
		return err
	}
	snapshotter, err := snapshot.NewSnapshotter(context.Background(), filepath.Join(root, "snapshotter"),
		filesystem, snapshot.AsynchronousRemove)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-terminated
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		return err
	}
	return snapshotter.Close() // unmounts all layers
}
