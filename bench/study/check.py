#!/usr/bin/python3
"""Compares the order of a run's figures with that of the study in docs/study.

Two figures of the study are in order where their intervals do not meet. A new run reproduces that if its medians are
in the same order, leaves it open if they are not but their intervals meet, and contradicts it otherwise. Ends with 1
if anything is contradicted, or if less than nine in ten are reproduced."""

import argparse
import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from figures import BASE, WAYS, Study
from peers import REPOSITORY

STUDY = REPOSITORY / "docs/study"
ENOUGH = 0.9


def rankings(study):
    """By name what is ranked: estimates by what they are of."""
    images = study.images
    ranked = {"workloads by the pull's share (ctr, near)": {image: study.pull_share(image, BASE) for image in images},
              "workloads by what is downloaded lazily": {image: study.downloaded_share(image) for image in images},
              "workloads by the bytes read": {image: study.read_share(image) for image in images}}
    for network, cache in dict.fromkeys((network, cache) for _, _, _, network, cache in study.runs):
        for image in images:
            name = f"{image}: ways by the time to readiness ({network}, {cache})"
            ranked[name] = {text: study.ready(image, way, network, cache)
                            for way, text in WAYS.items() if study.has(image, way, network, cache)}
    return ranked


def claims(study):
    """The classic claims, of each workload."""
    for image in study.images:
        share = study.pull_share(image, BASE).median
        yield f"{image}: the pull is most of the start-up", share > 0.5
        yield f"{image}: less than a third of the bytes is read", study.read_share(image).median < 1 / 3


def verdict(pair, new):
    first, second = (new[name] for name in pair)
    if first.median < second.median:
        return "reproduced"
    return "contradicted" if second.below(first) else "open"


def compare(old, new, tell=print):
    """Tells how the orders compare; returns whether the old one is reproduced."""
    counts = {"reproduced": 0, "open": 0, "contradicted": 0}
    new_rankings = rankings(new)
    for name, ranked in rankings(old).items():
        again = new_rankings.get(name, {})
        clear = [pair for pair in itertools.permutations(ranked, 2)
                 if ranked[pair[0]].below(ranked[pair[1]]) and pair[0] in again and pair[1] in again]
        for pair in clear:
            found = verdict(pair, again)
            counts[found] += 1
            if found != "reproduced":
                tell(f"{found}: {name}: {pair[0]} < {pair[1]}")
    said = dict(claims(old))
    for claim, holds in claims(new):
        if claim in said and holds != said[claim]:
            counts["contradicted"] += 1
            tell(f"contradicted: {claim}: {'yes' if holds else 'no'}")
    total = sum(counts.values())
    tell(f"order of the figures, in pairs: {counts['reproduced']} of {total} reproduced, {counts['open']} open, "
         f"{counts['contradicted']} contradicted")
    return total > 0 and counts["contradicted"] == 0 and counts["reproduced"] >= ENOUGH * total


def show_orders(study, tell=print):
    """The rankings, smallest first; `<` where the intervals do not meet and `≈` where they do."""
    for name, ranked in rankings(study).items():
        ordered = sorted(ranked.items(), key=lambda item: item[1].median)
        text = ordered[0][0]
        for (_, before), (label, here) in itertools.pairwise(ordered):
            text += (" < " if before.below(here) else " ≈ ") + label
        tell(f"{name}: {text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="of the new run: results.jsonl and reading.json")
    arguments = parser.parse_args()
    old = Study(STUDY / "results.jsonl.gz", STUDY / "reading.json")
    new = Study(arguments.folder / "results.jsonl", arguments.folder / "reading.json")
    sys.exit(0 if compare(old, new) else 1)


if __name__ == "__main__":
    main()
