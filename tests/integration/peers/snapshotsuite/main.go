// containerd's own suite for snapshotters, run through its proxy client against `lazypull snapshotter serve`. Every
// case has a daemon and a root of its own. Takes the flags of a Go test: -test.v, -test.run, -test.parallel.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"github.com/containerd/continuity/fs/fstest"
	"google.golang.org/grpc"
)

var binary = flag.String("binary", "", "the lazypull command")

func main() {
	matches := func(pattern, name string) (bool, error) { return regexp.MatchString(pattern, name) }
	testing.Main(matches, []testing.InternalTest{{Name: "Snapshotter", F: suite}, {Name: "Rename", F: rename}}, nil, nil)
}

func suite(t *testing.T) { testsuite.SnapshotterSuite(t, "lazypull", connect) }

// connect starts a daemon and returns containerd's client for it, and how both end.
func connect(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	daemon, err := start(root)
	if err != nil {
		return nil, nil, err
	}
	connection, err := grpc.DialContext(ctx, "unix://"+daemon.socket, grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		daemon.stop()
		return nil, nil, err
	}
	client := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(connection), "lazypull")
	return client, func() error {
		connection.Close()
		return daemon.stop()
	}, nil
}

// rename does what the suite's case of that name is about, which the suite itself always skips: files that a lower
// layer brought are renamed, over others too. Only a directory of a lower layer cannot be renamed where overlayfs is
// mounted without redirect_dir; its users then copy, as mv does.
func rename(t *testing.T) {
	ctx := context.Background()
	client, end, err := connect(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}()
	layer := func(name, parent string, change fstest.Applier) {
		mounts, err := client.Prepare(ctx, name+"-active", parent)
		if err != nil {
			t.Fatal(err)
		}
		if err := mount.WithTempMount(ctx, mounts, change.Apply); err != nil {
			t.Fatal(err)
		}
		if err := client.Commit(ctx, name, name+"-active"); err != nil {
			t.Fatal(err)
		}
	}
	layer("lower", "", fstest.Apply(
		fstest.CreateDir("/files", 0700),
		fstest.CreateFile("/files/f1", []byte("was here first!"), 0644),
		fstest.CreateFile("/files/f2", []byte("nothing interesting"), 0644),
	))
	layer("upper", "lower", fstest.Apply(
		fstest.CreateDir("/dir1", 0700),
		fstest.Rename("/dir1", "/dir2"),
		fstest.CreateFile("/files/f1-overwrite", []byte("new content 1"), 0644),
		fstest.Rename("/files/f1-overwrite", "/files/f1"),
		fstest.Rename("/files/f2", "/files/f3"),
	))
	view, err := client.View(ctx, "view", "upper")
	if err != nil {
		t.Fatal(err)
	}
	expected := fstest.Apply(
		fstest.CreateDir("/files", 0700),
		fstest.CreateDir("/dir2", 0700),
		fstest.CreateFile("/files/f1", []byte("new content 1"), 0644),
		fstest.CreateFile("/files/f3", []byte("nothing interesting"), 0644),
	)
	err = mount.WithTempMount(ctx, view, func(root string) error {
		return fstest.CheckDirectoryEqualWithApplier(root, expected)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// daemon is a snapshotter that serves one root.
type daemon struct {
	process *exec.Cmd
	socket  string
	output  bytes.Buffer
}

func start(root string) (*daemon, error) {
	d := &daemon{socket: filepath.Join(root, "s.sock")}
	d.process = exec.Command(*binary, "snapshotter", "serve", "--root", filepath.Join(root, "root"), "--address", d.socket)
	d.process.Stderr = &d.output
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.process.Start(); err != nil {
		return nil, err
	}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(d.socket); err == nil {
			return d, nil
		}
		if time.Since(begin) > 20*time.Second {
			d.process.Process.Kill()
			d.process.Wait()
			return nil, fmt.Errorf("the snapshotter does not serve: %s", d.output.String())
		}
	}
}

func (d *daemon) stop() error {
	if err := d.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := d.process.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, d.output.String())
	}
	return nil
}
