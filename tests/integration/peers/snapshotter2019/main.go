// A remote snapshotter for tests: containerd's overlayfs snapshotter that fills snapshots of layers which it has in
// its layer folder (the layer's blob, named by the hex digest) instead of leaving that to the client. It speaks
// the remote-snapshot protocol of 2019 (labels containerd.io/snapshot/remote_snapshot…) or, if told, that of today
// (containerd.io/snapshot.ref). Faults are read from a control file at every call. Every call is logged as a line of
// JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/archive"
	"github.com/containerd/containerd/archive/compression"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/overlay"
	"google.golang.org/grpc"
)

const (
	labelRemote2019  = "containerd.io/snapshot/remote_snapshot"
	labelDigest2019  = "containerd.io/snapshot/remote_snapshot/digest"
	labelTarget      = "containerd.io/snapshot.ref"
	labelDigestToday = "containerd.io/snapshot/cri.layer-digest"
	labelRemoteToday = "containerd.io/snapshot/remote"
)

// control is the content of the control file.
type control struct {
	Today       bool     `json:"today"`
	FailPrepare []string `json:"fail_prepare"`
	NoLabel     []string `json:"no_label"`
	FailCommit  []string `json:"fail_commit"`
	Staged      []string `json:"staged"`
}

func contains(list []string, digest string) bool {
	for _, item := range list {
		if item == digest {
			return true
		}
	}
	return false
}

// call is one line of the log.
type call struct {
	Method string            `json:"method"`
	Key    string            `json:"key"`
	Parent string            `json:"parent"`
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Error  string            `json:"error"`
}

type remote struct {
	snapshots.Snapshotter
	layers  string
	control string
	mutex   sync.Mutex
	log     *os.File
}

func main() {
	root := flag.String("root", "", "folder for the snapshots")
	layers := flag.String("layers", "", "folder of the layers that are remote, each a blob named by its hex digest")
	controlFile := flag.String("control", "", "JSON file that says which faults to make")
	calls := flag.String("calls", "", "file to log calls to")
	address := flag.String("address", "", "Unix socket to serve")
	flag.Parse()
	if err := serve(*root, *layers, *controlFile, *calls, *address); err != nil {
		log.Fatal(err)
	}
}

func serve(root, layers, controlFile, calls, address string) error {
	backend, err := overlay.NewSnapshotter(root)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(calls, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0600)
	if err != nil {
		return err
	}
	snapshotter := &remote{Snapshotter: backend, layers: layers, control: controlFile, log: file}
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
	return server.Serve(listener)
}

func (r *remote) record(entry call, err error) {
	if err != nil {
		entry.Error = err.Error()
	}
	line, _ := json.Marshal(entry)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if _, err := r.log.Write(append(line, '\n')); err != nil {
		log.Fatal(err)
	}
}

func (r *remote) behaviour() (control, error) {
	var result control
	text, err := os.ReadFile(r.control)
	if err != nil {
		return result, err
	}
	return result, json.Unmarshal(text, &result)
}

func labelsOf(opts []snapshots.Opt) (map[string]string, error) {
	var info snapshots.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return nil, err
		}
	}
	return info.Labels, nil
}

func (r *remote) blob(digest string) string {
	return filepath.Join(r.layers, strings.TrimPrefix(digest, "sha256:"))
}

func (r *remote) has(digest string) bool {
	if digest == "" {
		return false
	}
	_, err := os.Stat(r.blob(digest))
	return err == nil
}

// fill extracts the layer into an active snapshot.
func (r *remote) fill(ctx context.Context, mounts []mount.Mount, digest string) error {
	blob, err := os.Open(r.blob(digest))
	if err != nil {
		return err
	}
	defer blob.Close()
	content, err := compression.DecompressStream(blob)
	if err != nil {
		return err
	}
	defer content.Close()
	return mount.WithTempMount(ctx, mounts, func(root string) error {
		_, err := archive.Apply(ctx, root, content)
		return err
	})
}

func (r *remote) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) (mounts []mount.Mount, err error) {
	labels, err := labelsOf(opts)
	if err != nil {
		return nil, err
	}
	defer func() { r.record(call{Method: "Prepare", Key: key, Parent: parent, Labels: labels}, err) }()
	behaviour, err := r.behaviour()
	if err != nil {
		return nil, err
	}
	digest := labels[labelDigest2019]
	if behaviour.Today {
		digest = labels[labelDigestToday]
	}
	if contains(behaviour.FailPrepare, digest) {
		return nil, errors.New("fault: Prepare of " + digest)
	}
	switch {
	case !r.has(digest):
		return r.Snapshotter.Prepare(ctx, key, parent, opts...)
	case !behaviour.Today:
		if !contains(behaviour.NoLabel, digest) {
			opts = append(opts, snapshots.WithLabels(map[string]string{labelRemote2019: "true"}))
		}
		return r.prepareFilled(ctx, digest, key, parent, opts)
	case contains(behaviour.Staged, digest):
		return r.stage(ctx, digest, key, parent, opts)
	case labels[labelTarget] != "":
		return nil, r.commitUnderTarget(ctx, digest, key, parent, labels, opts)
	}
	return r.Snapshotter.Prepare(ctx, key, parent, opts...)
}

func (r *remote) prepareFilled(ctx context.Context, digest, key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	mounts, err := r.Snapshotter.Prepare(ctx, key, parent, opts...)
	if err != nil {
		return nil, err
	}
	if err := r.fill(ctx, mounts, digest); err != nil {
		if cleanup := r.Snapshotter.Remove(ctx, key); cleanup != nil {
			log.Print(cleanup)
		}
		return nil, err
	}
	return mounts, nil
}

// stage fills the snapshot and says so by a read-only mount.
func (r *remote) stage(ctx context.Context, digest, key, parent string, opts []snapshots.Opt) ([]mount.Mount, error) {
	mounts, err := r.prepareFilled(ctx, digest, key, parent, opts)
	if err != nil {
		return nil, err
	}
	source := mounts[0].Source
	for _, option := range mounts[0].Options {
		if strings.HasPrefix(option, "upperdir=") {
			source = strings.TrimPrefix(option, "upperdir=")
		}
	}
	return []mount.Mount{{Type: "bind", Source: source, Options: []string{"ro", "rbind"}}}, nil
}

// commitUnderTarget always fails, with ErrAlreadyExists where all went well: that is the protocol's good answer.
func (r *remote) commitUnderTarget(ctx context.Context, digest, key, parent string, labels map[string]string, opts []snapshots.Opt) error {
	target := labels[labelTarget]
	if _, err := r.prepareFilled(ctx, digest, key, parent, opts); err != nil {
		return err
	}
	opts = append(opts, snapshots.WithLabels(map[string]string{labelRemoteToday: "remote snapshot"}))
	err := r.Snapshotter.Commit(ctx, target, key, opts...)
	if errdefs.IsAlreadyExists(err) { // of another namespace
		err = r.Snapshotter.Remove(ctx, key)
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("target snapshot %q: %w", target, errdefs.ErrAlreadyExists)
}

func (r *remote) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) (err error) {
	labels, err := labelsOf(opts)
	if err != nil {
		return err
	}
	defer func() { r.record(call{Method: "Commit", Key: key, Name: name, Labels: labels}, err) }()
	behaviour, err := r.behaviour()
	if err != nil {
		return err
	}
	info, err := r.Snapshotter.Stat(ctx, key)
	if err != nil {
		return err
	}
	// In the protocol of 2019 only the walk's own keys carry its label; what is extracted afterwards is not meant.
	label := labelDigest2019
	if behaviour.Today {
		label = labelDigestToday
	}
	if digest := info.Labels[label]; digest != "" && contains(behaviour.FailCommit, digest) {
		return errors.New("fault: Commit of " + digest)
	}
	// Commit replaces all labels by those of its options; what makes the snapshot a remote one stays.
	if value, ok := info.Labels[labelRemote2019]; ok {
		opts = append(opts, snapshots.WithLabels(map[string]string{labelRemote2019: value}))
	}
	return r.Snapshotter.Commit(ctx, name, key, opts...)
}

func (r *remote) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) (mounts []mount.Mount, err error) {
	labels, err := labelsOf(opts)
	if err != nil {
		return nil, err
	}
	mounts, err = r.Snapshotter.View(ctx, key, parent, opts...)
	r.record(call{Method: "View", Key: key, Parent: parent, Labels: labels}, err)
	return mounts, err
}

func (r *remote) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	info, err := r.Snapshotter.Stat(ctx, key)
	r.record(call{Method: "Stat", Key: key}, err)
	return info, err
}

func (r *remote) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	mounts, err := r.Snapshotter.Mounts(ctx, key)
	r.record(call{Method: "Mounts", Key: key}, err)
	return mounts, err
}

func (r *remote) Update(ctx context.Context, info snapshots.Info, fieldpaths ...string) (snapshots.Info, error) {
	updated, err := r.Snapshotter.Update(ctx, info, fieldpaths...)
	r.record(call{Method: "Update", Key: info.Name, Labels: info.Labels}, err)
	return updated, err
}

func (r *remote) Remove(ctx context.Context, key string) error {
	err := r.Snapshotter.Remove(ctx, key)
	r.record(call{Method: "Remove", Key: key}, err)
	return err
}
