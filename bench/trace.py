#!/usr/bin/env python3
"""What tracing costs: pulls of an image of many small layers into an embedded store, with --trace and without, in pairs
whose order is random.

Every pull has an empty store on tmpfs. Times are of whole processes from start to end, the writing of the trace
included. Printed are medians, and the median of the pairs' ratios with a 95% confidence interval (bootstrap). Needs a
release build."""

import argparse
import json
import pathlib
import random
import shutil
import statistics
import sys

import images
from measure import run_timed
from peers import REPOSITORY, EmbeddedRegistry, Scratch


def interval(values, random_source, rounds=2000):
    """Where the median of such values lies, with 95% confidence."""
    medians = sorted(statistics.median(random_source.choices(values, k=len(values))) for _ in range(rounds))
    return medians[int(0.025 * rounds)], medians[int(0.975 * rounds)]


class Overhead:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lazypull = arguments.build / "tools/lazypull"
        self.scratch = Scratch("/dev/shm")
        self.random = random.Random(arguments.seed)
        self.pairs = []

    def layout(self):
        folder = self.arguments.cache / "small40"
        if not folder.exists():
            self.arguments.cache.mkdir(parents=True, exist_ok=True)
            images.write_layout(folder, images.archives("small40", 0), "gzip")
        return folder

    def pull(self, reference, trace):
        store = self.scratch / "store"
        command = [self.lazypull, "--store", store, "pull", "--quiet", reference]
        if trace:
            command += ["--trace", self.scratch / "trace.json"]
        figures = run_timed([command])
        shutil.rmtree(store)
        return {"wall": figures["wall"], "cpu": figures["cpu"]}

    def run(self):
        layout = self.layout()
        registry = EmbeddedRegistry(self.scratch, self.lazypull, [layout])
        reference = f"{registry.host}/{layout.name}:latest"
        try:
            for trace in (False, True):
                self.pull(reference, trace)
            for _ in range(self.arguments.pairs):
                order = [False, True]
                self.random.shuffle(order)
                found = {trace: self.pull(reference, trace) for trace in order}
                self.pairs.append({"without": found[False], "with": found[True]})
            trace = json.loads((self.scratch / "trace.json").read_text())
        finally:
            registry.stop()
            self.scratch.remove()
        spans = sum(event["ph"] == "X" for event in trace["traceEvents"])
        print(f"{len(self.pairs)} pairs, {spans} spans in a trace, seed {self.arguments.seed}")
        for figure in ("wall", "cpu"):
            without = [pair["without"][figure] for pair in self.pairs]
            traced = [pair["with"][figure] for pair in self.pairs]
            ratios = [b / a for a, b in zip(without, traced)]
            low, high = interval(ratios, self.random)
            print(f"{figure}: without {1000 * statistics.median(without):.1f} ms, with "
                  f"{1000 * statistics.median(traced):.1f} ms; ratio {statistics.median(ratios):.4f} "
                  f"(95%: {low:.4f} to {high:.4f})")
        if self.arguments.out:
            self.arguments.out.write_text(json.dumps(self.pairs, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build/release")
    parser.add_argument("--cache", type=pathlib.Path, default=REPOSITORY / "build/bench-images")
    parser.add_argument("--out", type=pathlib.Path, help="file for the figures of each pull (JSON)")
    Overhead(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
