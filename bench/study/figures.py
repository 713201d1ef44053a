"""The study's figures from its data: medians, their intervals, and the tables of docs/study.md."""

import dataclasses
import gzip
import json
import math
import pathlib
import statistics

CONFIDENCE = 0.95
BASE = ("ctr", "overlayfs")
STARGZ = ("ctr-remote", "stargz")
WAYS = {BASE: "ctr", ("lazypull", "overlayfs"): "lazypull", STARGZ: "ctr-remote, stargz",
        ("lazypull", "stargz"): "lazypull, stargz", ("lazypull", "lazypull"): "lazypull, published layers"}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A median, and the interval of the sign test: two order statistics, whatever the distribution. With less than
    six values it is all of them, at a lower level."""
    median: float
    low: float
    high: float
    count: int

    @staticmethod
    def of(values):
        values = sorted(values)
        count, outside, skip = len(values), 0.0, 0
        while 2 * (outside + math.comb(count, skip) / 2**count) <= 1 - CONFIDENCE:
            outside += math.comb(count, skip) / 2**count
            skip += 1
        skip = max(0, skip - 1)
        return Estimate(statistics.median(values), values[skip], values[-1 - skip], count)

    def below(self, other):
        """Clearly: the intervals do not meet."""
        return self.high < other.low

    def text(self, scale=1.0, digits=2):
        numbers = [f"{scale * value:.{digits}f}" for value in (self.median, self.low, self.high)]
        return numbers[0] if numbers[1] == numbers[2] else f"{numbers[0]} ({numbers[1]}–{numbers[2]})"


def read_lines(file):
    opener = gzip.open if pathlib.Path(file).suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


class Study:
    """`results`: rows of `lazypull experiment run`; `reading`: of each image what it is and what is read."""

    def __init__(self, results, reading):
        self.runs, self.failed = {}, 0
        for row in read_lines(results):
            if row["error"]:
                self.failed += 1
                continue
            key = (row["image"], row["puller"], row["snapshotter"], row["network"], row["cache"])
            self.runs.setdefault(key, {})[row["repetition"]] = row
        self.reading = json.loads(pathlib.Path(reading).read_text())
        self.images = list(self.reading)

    def has(self, image, way, network="near", cache="cold"):
        return (image, *way, network, cache) in self.runs

    def values(self, image, way, network, cache, value):
        return {number: value(row) for number, row in self.runs[(image, *way, network, cache)].items()}

    def ready(self, image, way, network="near", cache="cold"):
        """Seconds from the begin of the pull until the workload is ready."""
        return Estimate.of(self.values(image, way, network, cache, lambda row: row["times_ms"]["ready"] / 1e3).values())

    def pull_share(self, image, way, network="near", cache="cold"):
        def share(row):
            return row["times_ms"]["pull"] / row["times_ms"]["ready"]
        return Estimate.of(self.values(image, way, network, cache, share).values())

    def ratio(self, image, way, network="near", cache="cold"):
        """The time to readiness relative to that of `ctr images pull`, by repetition."""
        def ready(row):
            return row["times_ms"]["ready"]
        mine = self.values(image, way, network, cache, ready)
        base = self.values(image, BASE, network, cache, ready)
        return Estimate.of([mine[number] / base[number] for number in mine if number in base])

    def compressed(self, image):
        return sum(self.reading[image]["compressed_bytes"])

    def downloaded_share(self, image, network="near"):
        """Of the compressed image, what the lazy snapshotter has asked the registry for until readiness."""
        size = self.compressed(image)
        return Estimate.of(self.values(image, STARGZ, network, "cold",
                                       lambda row: row["amounts"]["bytes_before_ready"] / size).values())

    def read_share(self, image, what="pages"):
        """Of the bytes of its files, what an ordinary file system has read until readiness."""
        return Estimate.of([count["bytes_read"] / count["bytes"] for count in self.reading[image]["read"][what]])

    def files_share(self, image):
        return Estimate.of([count["files_read"] / count["files"] for count in self.reading[image]["read"]["pages"]])


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def pull_table(study):
    places = [(way, network, cache) for network, cache in (("near", "cold"), ("far", "cold"), ("near", "base-warm"))
              for way in (BASE, ("lazypull", "overlayfs")) if study.has(study.images[0], way, network, cache)]
    heads = ["workload", "ready, s", *(f"{WAYS[way]}, {network}, {cache}" for way, network, cache in places)]
    rows = [[image, study.ready(image, BASE).text(),
             *(study.pull_share(image, *place).text(100, 0) for place in places)] for image in study.images]
    return "Share of the pull in the time to readiness, % (`ready` is that of the first share)\n\n" + table(heads, rows)


def reading_table(study):
    heads = ["workload", "compressed, MB", "downloaded lazily, %", "files, MB", "files read, %", "bytes read, %",
             "with read-ahead, %"]
    rows = []
    for image in study.images:
        size = study.reading[image]["read"]["pages"][0]["bytes"]
        rows.append([image, f"{study.compressed(image) / 1e6:.0f}", study.downloaded_share(image).text(100, 1),
                     f"{size / 1e6:.0f}", study.files_share(image).text(100, 1), study.read_share(image).text(100, 1),
                     study.read_share(image, "read_ahead").text(100, 1)])
    return "What of the image is read before readiness\n\n" + table(heads, rows)


def ratio_table(study, network, cache):
    ways = [way for way in WAYS if way != BASE and study.has(study.images[0], way, network, cache)]
    heads = ["workload", "ctr, s", *(WAYS[way] for way in ways)]
    rows = [[image, study.ready(image, BASE, network, cache).text(),
             *(study.ratio(image, way, network, cache).text() for way in ways)] for image in study.images]
    return f"Time to readiness relative to ctr: network {network}, cache {cache}\n\n" + table(heads, rows)


def tables(study):
    parts = [pull_table(study), reading_table(study)]
    places = dict.fromkeys((network, cache) for _, _, _, network, cache in study.runs)
    order = sorted(places, key=lambda place: (place[1] != "cold", place[0] != "near"))
    parts += [ratio_table(study, *place) for place in order]
    return "\n\n".join(parts) + "\n"
