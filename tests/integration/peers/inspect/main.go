// Looks into a containerd through its Go client, for tests:
//
//	inspect [flags] state       all of a namespace as JSON
//	inspect [flags] top REF     the ChainID of the image's top layer; fails if its snapshot is missing
//	inspect [flags] mount REF   mounts that snapshot read-only at -target, through the view -key
//	inspect [flags] prepare     prepares the snapshot -key with all -label, prints the mounts as JSON
//	inspect [flags] commit NAME commits -key
//	inspect [flags] remove      removes the snapshot -key
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/containerd"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/leases"
	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/platforms"
	"github.com/containerd/containerd/snapshots"
	"github.com/opencontainers/image-spec/identity"
)

type imageState struct {
	MediaType string            `json:"media_type"`
	Digest    string            `json:"digest"`
	Size      int64             `json:"size"`
	Labels    map[string]string `json:"labels"`
}

type contentState struct {
	Size   int64             `json:"size"`
	Labels map[string]string `json:"labels"`
}

type snapshotState struct {
	Parent string            `json:"parent"`
	Kind   string            `json:"kind"`
	Labels map[string]string `json:"labels"`
}

type leaseState struct {
	Labels    map[string]string `json:"labels"`
	Resources []string          `json:"resources"`
}

type ingestState struct {
	Offset int64 `json:"offset"`
	Total  int64 `json:"total"`
}

type state struct {
	Images    map[string]imageState    `json:"images"`
	Content   map[string]contentState  `json:"content"`
	Snapshots map[string]snapshotState `json:"snapshots"`
	Leases    map[string]leaseState    `json:"leases"`
	Ingests   map[string]ingestState   `json:"ingests"`
}

var (
	address     = flag.String("address", "", "containerd's socket")
	namespace   = flag.String("namespace", "default", "")
	snapshotter = flag.String("snapshotter", "overlayfs", "")
	key         = flag.String("key", "", "of the view or active snapshot")
	parent      = flag.String("parent", "", "of the active snapshot")
	lease       = flag.String("lease", "", "under which to make snapshots")
	labels      = labelFlags{}
	target      = flag.String("target", "", "folder to mount at")
)

// labelFlags are any number of -label KEY=VALUE.
type labelFlags map[string]string

func (l labelFlags) String() string { return "" }

func (l labelFlags) Set(text string) error {
	parts := strings.SplitN(text, "=", 2)
	if len(parts) != 2 {
		return fmt.Errorf("%q is no KEY=VALUE", text)
	}
	l[parts[0]] = parts[1]
	return nil
}

func main() {
	flag.Var(labels, "label", "KEY=VALUE, of the snapshot")
	flag.Parse()
	if err := run(flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command, name string) error {
	client, err := containerd.New(*address)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := namespaces.WithNamespace(context.Background(), *namespace)
	if *lease != "" {
		ctx = leases.WithLease(ctx, *lease)
	}
	service := client.SnapshotService(*snapshotter)
	switch command {
	case "state":
		all, err := readState(ctx, client)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(all)
	case "top":
		top, err := topChainID(ctx, client, name)
		if err != nil {
			return err
		}
		if _, err := service.Stat(ctx, top); err != nil {
			return err
		}
		fmt.Println(top)
		return nil
	case "mount":
		top, err := topChainID(ctx, client, name)
		if err != nil {
			return err
		}
		// The label keeps the view from the garbage collector, as no lease does.
		rooted := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "test"})
		mounts, err := service.View(ctx, *key, top, rooted)
		if err != nil {
			return err
		}
		return mount.All(mounts, *target)
	case "prepare":
		mounts, err := service.Prepare(ctx, *key, *parent, snapshots.WithLabels(labels))
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(mounts)
	case "commit":
		return service.Commit(ctx, name, *key)
	case "remove":
		return service.Remove(ctx, *key)
	}
	return fmt.Errorf("unknown command %q", command)
}

// topChainID needs the manifest and the config of the host's platform, but no layer.
func topChainID(ctx context.Context, client *containerd.Client, reference string) (string, error) {
	image, err := client.ImageService().Get(ctx, reference)
	if err != nil {
		return "", err
	}
	diffIDs, err := image.RootFS(ctx, client.ContentStore(), platforms.Default())
	if err != nil {
		return "", err
	}
	return identity.ChainID(diffIDs).String(), nil
}

func readState(ctx context.Context, client *containerd.Client) (*state, error) {
	all := &state{
		Images:    map[string]imageState{},
		Content:   map[string]contentState{},
		Snapshots: map[string]snapshotState{},
		Leases:    map[string]leaseState{},
		Ingests:   map[string]ingestState{},
	}
	for _, read := range []func(context.Context, *containerd.Client, *state) error{
		readImages, readContent, readSnapshots, readLeases,
	} {
		if err := read(ctx, client, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readImages(ctx context.Context, client *containerd.Client, all *state) error {
	images, err := client.ImageService().List(ctx)
	for _, image := range images {
		all.Images[image.Name] = imageState{
			MediaType: image.Target.MediaType,
			Digest:    image.Target.Digest.String(),
			Size:      image.Target.Size,
			Labels:    image.Labels,
		}
	}
	return err
}

func readContent(ctx context.Context, client *containerd.Client, all *state) error {
	store := client.ContentStore()
	if err := store.Walk(ctx, func(info content.Info) error {
		all.Content[info.Digest.String()] = contentState{Size: info.Size, Labels: info.Labels}
		return nil
	}); err != nil {
		return err
	}
	statuses, err := store.ListStatuses(ctx)
	for _, status := range statuses {
		all.Ingests[status.Ref] = ingestState{Offset: status.Offset, Total: status.Total}
	}
	return err
}

func readSnapshots(ctx context.Context, client *containerd.Client, all *state) error {
	return client.SnapshotService(*snapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		all.Snapshots[info.Name] = snapshotState{
			Parent: info.Parent,
			Kind:   strings.ToLower(info.Kind.String()),
			Labels: info.Labels,
		}
		return nil
	})
}

func readLeases(ctx context.Context, client *containerd.Client, all *state) error {
	service := client.LeasesService()
	list, err := service.List(ctx)
	if err != nil {
		return err
	}
	for _, lease := range list {
		resources, err := service.ListResources(ctx, lease)
		if err != nil {
			return err
		}
		item := leaseState{Labels: lease.Labels, Resources: []string{}}
		for _, resource := range resources {
			item.Resources = append(item.Resources, resource.Type+" "+resource.ID)
		}
		all.Leases[lease.ID] = item
	}
	return nil
}
