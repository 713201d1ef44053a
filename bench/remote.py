#!/usr/bin/env python3
"""Measures what shared storage of unpacked layers saves: pulls through `lazypull snapshotter serve` of an image of which
no layer is published, and of the same with all of them published, for images of several sizes.

The storage is a folder on the same machine, so what is measured is the snapshotter's own work. Every pull has a
containerd and a snapshotter that have just been started, on tmpfs. Needs root, a release build, and
`tools/deps.sh bench`."""

import argparse
import json
import pathlib
import statistics

import images
from measure import run_timed
from peers import REPOSITORY, Containerd, Daemon, Registry, Scratch, answers, push, require_root, run


class Node:
    """A containerd whose snapshotter is ours."""

    def __init__(self, folder, lazypull, storage):
        folder.mkdir()
        address = folder / "snapshotter.sock"
        self.snapshotter = Daemon(
            [lazypull, "snapshotter", "serve", "--address", address, "--root", folder / "snapshots", "--remote", storage],
            folder / "snapshotter.log", lambda: answers(address), "lazypull snapshotter serve")
        self.containerd = Containerd(folder / "containerd", plugins={"lazypull": address})

    def pull(self, lazypull, reference):
        daemons = [self.snapshotter.process.pid, *self.containerd.pids()]
        return run_timed([[lazypull, "--address", self.containerd.socket, "pull", "--snapshotter", "lazypull",
                           reference]], daemons)

    def stop(self):
        self.containerd.stop()
        self.snapshotter.stop()


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lazypull = arguments.build / "tools/lazypull"
        self.scratch = Scratch("/dev/shm")
        self.registry = Registry(self.scratch)
        self.made = 0
        self.runs = []

    def layout(self, megabytes):
        folder = self.arguments.cache / f"large-{megabytes}"
        if not folder.exists():
            print(f"making the image {folder.name} …", flush=True)
            self.arguments.cache.mkdir(parents=True, exist_ok=True)
            images.write_layout(folder, images.archives("large", megabytes, 0), "gzip")
        return folder

    def publish(self, megabytes, reference):
        """All layers, through an embedded store that is thrown away."""
        storage, store = self.scratch / f"layers-{megabytes}", self.scratch / f"store-{megabytes}"
        run(self.lazypull, "--store", store, "pull", reference)
        run(self.lazypull, "--store", store, "layers", "publish", reference, "--to", storage, "--format",
            self.arguments.format)
        return storage

    def measure(self, megabytes):
        reference = push(self.layout(megabytes), self.registry, f"large:{megabytes}")
        empty = self.scratch / "nothing"
        empty.mkdir(exist_ok=True)
        storages = {"none": empty, "all": self.publish(megabytes, reference)}
        for round_ in range(self.arguments.runs):
            for published, storage in storages.items():
                self.made += 1
                node = Node(self.scratch / f"node-{self.made}", self.lazypull, storage)
                figures = node.pull(self.lazypull, reference)
                node.stop()
                self.runs.append({"megabytes": megabytes, "published": published, "round": round_, **figures})
        self.show(megabytes)

    def show(self, megabytes):
        wall = {published: statistics.median(run["wall"] for run in self.runs if run["megabytes"] == megabytes
                                             and run["published"] == published) for published in ("none", "all")}
        print(f"{megabytes:5} MB of files: no layer published {wall['none']:.3f} s, all published {wall['all']:.3f} s, "
              f"1/{wall['none'] / wall['all']:.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="rounds")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 2400], help="uncompressed sizes of the images")
    parser.add_argument("--format", choices=["dir", "erofs", "squashfs"], default="erofs")
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build/release")
    parser.add_argument("--cache", type=pathlib.Path, default=REPOSITORY / "build/bench-images",
                        help="where images are kept between runs")
    parser.add_argument("--out", type=pathlib.Path, help="file for the single runs, as JSON")
    arguments = parser.parse_args()
    require_root()
    bench = Bench(arguments)
    for megabytes in arguments.megabytes:
        bench.measure(megabytes)
    if arguments.out:
        arguments.out.write_text(json.dumps(bench.runs, indent=1))


if __name__ == "__main__":
    main()
