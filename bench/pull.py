#!/usr/bin/env python3
"""Compares whole pulls with those of the peers, in one run and in alternation.

  large    8 gzip layers of this machine's own files (--megabytes, uncompressed)
  small40  40 layers of one small file
  tiny     100,000 files of some hundred bytes
  zstd     the files of `large`, compressed with zstd
  stargz   the files of `large` as eStargz, mounted by the stargz snapshotter and not downloaded
  present  a pull of the `small40` image that is there already

Clients of the first four: `ctr images pull` into containerd with overlayfs; `lazypull pull` into containerd, which
extracts by itself (lazypull) or through containerd (lazypull-diff-service); without a daemon `lazypull pull --store`,
`podman pull`, and `skopeo copy` followed by `umoci unpack`. Two clients unpack nothing: `skopeo copy` to an image
layout, and `lazypull fetch --store`.

Every pull has empty storage of its own, and a daemon that has just been started, on tmpfs or below --disk. Times are of
whole processes from start to end. CPU time is that of the client and of its daemons, memory the largest resident size
of the client plus those of its daemons. Before the counted rounds each client pulls once, and what it unpacked is
compared with the others'. Needs root, a release build, and `tools/deps.sh bench`."""

import argparse
import pathlib
import sys

import images
import tree
from clients import CLIENTS
from measure import run_timed
from peers import REPOSITORY, Containerd, EmbeddedRegistry, Registry, Scratch, push, require_root, run, to_estargz
from report import Report

ALL = ["ctr", "lazypull", "lazypull-diff-service", "lazypull-store", "podman", "skopeo-umoci", "lazypull-fetch",
       "skopeo"]
CASES = {
    "large": ALL, "small40": ALL, "tiny": ALL,
    "zstd": [name for name in ALL if name != "skopeo-umoci"],  # umoci knows gzip only
    "stargz": ["ctr-remote", "lazypull-stargz"],
    "present": ["ctr", "lazypull"],
}
IMAGE_OF = {"stargz": "estargz", "present": "small40"}


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lazypull = arguments.build / "tools/lazypull"
        self.stargz = arguments.build / "peers/stargz"
        self.scratch = Scratch(arguments.disk or "/dev/shm")
        self.registry = None
        self.report = Report()
        self.made = 0

    def layout(self, kind):
        """The image's layout in the cache, which is made if it is not there."""
        arguments = self.arguments
        size = {"small40": "", "tiny": f"-{arguments.tiny_files}"}.get(kind, f"-{arguments.megabytes}")
        folder = arguments.cache / f"{kind}{size}"
        if folder.exists():
            return folder
        print(f"making the image {folder.name} …", flush=True)
        arguments.cache.mkdir(parents=True, exist_ok=True)
        if kind == "estargz":
            self.convert(folder)
        else:
            images.write_layout(folder, images.archives(kind, arguments.megabytes, arguments.tiny_files),
                                "zstd" if kind == "zstd" else "gzip")
        return folder

    def convert(self, folder):
        registry = Registry(self.scratch)
        containerd = Containerd(self.scratch / "converter")
        reference = push(self.layout("large"), registry, "large:1")
        reference = to_estargz(containerd, reference, f"{registry.host}/estargz:1")
        partial = folder.with_name(folder.name + ".partial")
        run("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}", f"oci:{partial}:latest")
        partial.rename(folder)
        containerd.stop()
        registry.stop()

    def serve(self, layouts):
        """Starts the registry; returns the references of the images."""
        if self.arguments.registry == "lazypull":
            self.registry = EmbeddedRegistry(self.scratch, self.lazypull, layouts.values())
            return {kind: f"{self.registry.host}/{layout.name}:latest" for kind, layout in layouts.items()}
        self.registry = Registry(self.scratch)
        return {kind: push(layout, self.registry, f"{kind}:1") for kind, layout in layouts.items()}

    def client(self, name):
        self.made += 1
        return CLIENTS[name](self.scratch / f"{name}-{self.made}", self)

    def compare(self, names, reference):
        """Each client pulls once; all trees must be the same as the first one's."""
        trees = {}
        for name in names:
            client = self.client(name)
            run_timed(client.commands(reference))
            with client.tree(reference) as root:
                if root:
                    trees[name] = tree.read_tree(root)
            client.stop()
        for name, other in trees.items():
            base = next(iter(trees))
            if lines := tree.differences(trees[base], other):
                sys.exit(f"{base} and {name} made different trees:\n" + "\n".join(lines[:20]))
        if trees:
            print(f"  {len(next(iter(trees.values())))} entries, the same for {', '.join(trees)}", flush=True)

    def measure(self, case, reference):
        names = [name for name in CASES[case] if name in self.arguments.clients]
        if case != "stargz" and not self.arguments.skip_check:
            self.compare(names, reference)
        for round_ in range(self.arguments.runs):
            # The order turns, so that no client always has the warmer machine.
            turn = round_ % len(names)
            for name in names[turn:] + names[:turn]:
                client = self.client(name)
                self.report.add(case, name, round_, run_timed(client.commands(reference), client.daemons))
                client.stop()
            self.save()

    def save(self):
        """After each round, so that a run that is cut short has what came before."""
        if self.arguments.out:
            settings = {name: str(value) for name, value in vars(self.arguments).items()}
            self.report.write(self.arguments.out, settings)

    def measure_present(self, reference):
        client = self.client("ctr")
        run_timed(client.commands(reference))
        commands = {"ctr": client.commands(reference), "lazypull": [
            [self.lazypull, "--address", client.containerd.socket, "pull", reference]]}
        for round_ in range(3 * self.arguments.runs):
            for name in sorted(commands, reverse=round_ % 2 == 1):
                self.report.add("present", name, round_, run_timed(commands[name], client.daemons))
        client.stop()

    def run(self):
        cases = self.arguments.cases
        layouts = {kind: self.layout(kind) for kind in dict.fromkeys(IMAGE_OF.get(case, case) for case in cases)}
        references = self.serve(layouts)
        for case in cases:
            kind = IMAGE_OF.get(case, case)
            sizes = images.layer_sizes(layouts[kind])
            self.report.images[case] = f"{len(sizes)} layers, {sum(sizes) / 2**20:.1f} MiB compressed"
            print(f"{case}: {self.report.images[case]}", flush=True)
            if case == "present":
                self.measure_present(references[kind])
            else:
                self.measure(case, references[kind])
        print("\n" + self.report.table())
        self.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted rounds (three times as many of `present`)")
    parser.add_argument("--megabytes", type=int, default=2400, help="uncompressed size of `large`, `zstd`, `stargz`")
    parser.add_argument("--tiny-files", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="small images and two rounds")
    parser.add_argument("--disk", type=pathlib.Path, help="put all storage below this folder and not on tmpfs")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--clients", nargs="+", default=list(CLIENTS), choices=CLIENTS)
    parser.add_argument("--registry", choices=["docker", "lazypull"], default="docker",
                        help="Debian's docker-registry, or `lazypull registry serve`")
    parser.add_argument("--skip-check", action="store_true", help="leave the first, uncounted round out in which the trees are compared")
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build/release")
    parser.add_argument("--cache", type=pathlib.Path, default=REPOSITORY / "build/bench-images",
                        help="where images are kept between runs")
    parser.add_argument("--out", type=pathlib.Path, help="folder for pull.json and pull.svg")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.megabytes, arguments.tiny_files, arguments.runs = 100, 4000, 2
    require_root()
    Bench(arguments).run()


if __name__ == "__main__":
    main()
