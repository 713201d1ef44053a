#!/usr/bin/python3
"""The start-up study of docs/study.md, from nothing: builds the images, runs the experiment, measures what is read,
makes the report and the tables, and compares the order of the figures with the study's. Needs root and a quiet
machine. A run that was stopped goes on where it was; one that has ended is only looked at again.

    bench/study/study.py            # 20 to 40 minutes on two cores
    bench/study/study.py --quick    # one network, three repetitions"""

import argparse
import gzip
import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import yaml

import check
import figures
import touched
from build import build
from peers import REPOSITORY, Scratch, require_root, run


def write_spec(arguments, target):
    spec = yaml.safe_load((pathlib.Path(__file__).parent / "spec.yaml").read_text())
    if arguments.quick:
        spec["repetitions"] = 3
        spec["networks"] = spec["networks"][:1]
        spec["matrix"]["caches"] = ["cold"]
        spec["matrix"]["exclude"] = []
    if arguments.repetitions:
        spec["repetitions"] = arguments.repetitions
    if arguments.images:
        spec["images"] = [image for image in spec["images"] if image["name"] in arguments.images]
    for image in spec["images"]:
        for form in ("layout", "estargz"):
            image[form] = str(arguments.cache / image[form])
    spec["programs"]["stargz"] = str(arguments.build / "peers/stargz")
    target.write_text(yaml.safe_dump(spec, sort_keys=False, default_flow_style=None, width=120))
    return spec


def measure_reading(spec, arguments, descriptions, target):
    if target.exists():
        return
    scratch = Scratch(purpose="lazypull-study")
    read = touched.measure_all(spec["images"], arguments.cache, scratch, min(3, spec["repetitions"]))
    scratch.remove()
    target.write_text(json.dumps({name: {**descriptions[name], "read": counts} for name, counts in read.items()},
                                 indent=1) + "\n")


def keep(arguments, target):
    """Makes this run the study's data: of the traces, which every run of lazypull has, those of one repetition."""
    target.mkdir(exist_ok=True)
    rows = figures.read_lines(arguments.output / "results.jsonl")
    for row in rows:
        if row["repetition"] != 0:
            row.pop("spans", None)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    small = arguments.output / "kept.jsonl"
    small.write_text(text)
    make_page(arguments, small, target / "study.html")
    (target / "results.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    shutil.copy(arguments.output / "reading.json", target / "reading.json")


def make_page(arguments, results, page):
    run(arguments.build / "tools/lazypull", "experiment", "report", results, "--output", page)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build/release", help="of CMake")
    parser.add_argument("--cache", type=pathlib.Path, default=REPOSITORY / "build/study", help="for the images")
    parser.add_argument("--output", type=pathlib.Path, help="for what is measured (build/study/run)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--images", nargs="+", help="only these")
    parser.add_argument("--keep", action="store_true", help="make this run the data in docs/study")
    parser.add_argument("--only-build", action="store_true", help="nothing but the images")
    arguments = parser.parse_args()
    require_root()
    arguments.output = arguments.output or REPOSITORY / "build/study" / ("quick" if arguments.quick else "run")
    for name in ("build", "cache", "output"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    descriptions = build(arguments.cache)
    if arguments.only_build:
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    spec_file, results = arguments.output / "spec.yaml", arguments.output / "results.jsonl"
    spec = write_spec(arguments, spec_file)
    measure_reading(spec, arguments, descriptions, arguments.output / "reading.json")
    lazypull = arguments.build / "tools/lazypull"
    ran = subprocess.run([lazypull, "experiment", "run", spec_file, "--output", results], check=False)
    if ran.returncode not in (0, 1):
        sys.exit(ran.returncode)
    make_page(arguments, results, arguments.output / "study.html")
    study = figures.Study(results, arguments.output / "reading.json")
    print("\n" + figures.tables(study))
    check.show_orders(study)
    committed = check.STUDY / "results.jsonl.gz"
    if arguments.keep:
        keep(arguments, check.STUDY)
    if not committed.exists():
        return
    print()
    old = figures.Study(committed, check.STUDY / "reading.json")
    if not check.compare(old, study) or ran.returncode != 0:
        sys.exit(1)


if __name__ == "__main__":
    main()
