#!/usr/bin/env python3
"""Compares whole pulls with those of the peers, in one run and in alternation, and prints medians and ratios.

  overlayfs  a cold pull into containerd with overlayfs: `ctr images pull` against `lazypull pull`
  stargz     a cold pull of an all-eStargz image with the stargz snapshotter: `ctr-remote images rpull`
  present    a pull of an image of 40 layers that is there already: `ctr images pull`

Every cold pull has a containerd (and snapshotter) of its own, with empty roots on tmpfs, or on disk with --disk.
Times are of whole processes, from start to end. Needs root and `tools/deps.sh bench`."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import images
from peers import REPOSITORY, Containerd, Registry, Scratch, require_root


def timed(argv):
    """Wall and CPU seconds of one process."""
    start = time.perf_counter()
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, argv))}\nexited with {process.returncode}:\n{output.decode(errors='replace')}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime}


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lazypull = arguments.build / "tools/lazypull"
        self.stargz = arguments.build / "peers/stargz"
        self.scratch = Scratch(arguments.disk)
        self.registry = Registry(self.scratch)
        self.records = []

    def client(self, name, containerd, reference):
        address = ["--address", containerd.socket]
        return {
            "ctr": ["ctr", *address, "images", "pull", "--plain-http", reference],
            "ctr-remote": ["ctr-remote", *address, "images", "rpull", "--plain-http", reference],
            "lazypull": [self.lazypull, *address, "pull", reference],
            "lazypull-stargz": [self.lazypull, *address, "pull", "--snapshotter", "stargz", reference],
        }[name]

    def cold(self, case, clients, reference, with_stargz):
        for round_ in range(-self.arguments.warmup, self.arguments.runs):
            # The order turns round, so that neither client always has the warmer machine.
            for name in clients if round_ % 2 == 0 else clients[::-1]:
                containerd = Containerd(self.scratch / f"{case}-{name}-{round_}",
                                        self.stargz if with_stargz else None)
                figures = timed(self.client(name, containerd, reference))
                containerd.stop()
                if round_ >= 0:
                    self.records.append({"case": case, "client": name, "round": round_, **figures})

    def present(self, case, clients, reference):
        containerd = Containerd(self.scratch / case)
        for name in clients:
            timed(self.client(name, containerd, reference))
        for round_ in range(-self.arguments.warmup, self.arguments.runs * 3):
            for name in clients if round_ % 2 == 0 else clients[::-1]:
                figures = timed(self.client(name, containerd, reference))
                if round_ >= 0:
                    self.records.append({"case": case, "client": name, "round": round_, **figures})
        containerd.stop()

    def make_image(self, name, archives):
        layout = images.Layout(self.scratch / f"layout-{name}")
        size = layout.image(archives)
        print(f"{name}: {len(archives)} layers, {size / 2**20:.0f} MiB compressed", flush=True)
        return images.push(layout, self.registry, f"{name}:1")

    def run(self):
        groups = images.own_files(self.arguments.megabytes, 8)
        large = self.make_image("large", [images.archive_of_files(group) for group in groups])
        if "overlayfs" in self.arguments.cases:
            self.cold("overlayfs", ["ctr", "lazypull"], large, False)
        if "stargz" in self.arguments.cases:
            converter = Containerd(self.scratch / "converter")
            lazy = images.push_estargz(converter, large, f"{self.registry.host}/lazy:1")
            converter.stop()
            self.cold("stargz", ["ctr-remote", "lazypull-stargz"], lazy, True)
        if "present" in self.arguments.cases:
            many = self.make_image("many", images.small_layers(40))
            self.present("present", ["ctr", "lazypull"], many)

    def report(self):
        cases = list(dict.fromkeys(record["case"] for record in self.records))
        print(f"\n{'case':10} {'client':16} {'wall s':>8} {'min':>7} {'max':>7} {'cpu s':>7} "
              f"{'ratio':>6}")
        for case in cases:
            records = [record for record in self.records if record["case"] == case]
            clients = list(dict.fromkeys(record["client"] for record in sorted(records, key=lambda r: r["client"])))
            base = clients[0]
            walls = {name: {r["round"]: r["wall"] for r in records if r["client"] == name} for name in clients}
            for name in clients:
                mine = [record for record in records if record["client"] == name]
                wall = [record["wall"] for record in mine]
                # Pair by pair, so that a machine that slows down in the middle does not count.
                ratio = statistics.median(walls[name][i] / walls[base][i] for i in walls[name])
                print(f"{case:10} {name:16} {statistics.median(wall):8.3f} {min(wall):7.3f} {max(wall):7.3f} "
                      f"{statistics.median(r['cpu'] for r in mine):7.3f} {ratio:6.2f}")
        if self.arguments.output:
            with open(self.arguments.output, "w", encoding="utf-8") as file:
                for record in self.records:
                    file.write(json.dumps(record) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="counted pairs of each cold case (three times as many present ones)")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=300, help="uncompressed size of the large image")
    parser.add_argument("--disk", action="store_true", help="roots on disk instead of tmpfs")
    parser.add_argument("--cases", nargs="+", default=["overlayfs", "stargz", "present"],
                        choices=["overlayfs", "stargz", "present"])
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build/release")
    parser.add_argument("--output", help="write every single run as JSON Lines")
    bench = Bench(parser.parse_args())
    require_root()
    bench.run()
    bench.report()


if __name__ == "__main__":
    main()
