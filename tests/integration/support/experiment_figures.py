"""Recomputes what a report says from the raw results, with nothing of the report's own code, and compares.

    experiment_figures.py RESULTS.jsonl SUMMARY.csv SEEN.json

SEEN.json is what experiment_browser.py saw. Prints how many figures were compared; ends with the first ones that
differ."""

import csv
import fractions
import json
import math
import statistics
import sys

AXES = ("image", "puller", "snapshotter", "unpack", "network", "cache")


def interval(values):
    """The narrowest pair of order statistics that has the median between them with 95 %, in exact fractions."""
    line, n = sorted(values), len(values)
    chosen = None
    for low in range(1, (n + 1) // 2 + 1):
        outside = 2 * sum(fractions.Fraction(math.comb(n, i), 2 ** n) for i in range(low))
        if low == 1 or 1 - outside >= fractions.Fraction(95, 100):
            chosen = (line[low - 1], line[n - low], max(0.0, float(1 - outside)))
    return chosen


class Results:
    def __init__(self, file):
        self.runs = {}
        for line in open(file):
            row = json.loads(line)
            if not row["error"]:
                key = tuple(row[axis] for axis in AXES)
                self.runs.setdefault(key, {})[row["repetition"]] = row

    def values(self, key, metric):
        rows = (row for _, row in sorted(self.runs[key].items()))
        merged = ({**row["times_ms"], **row["amounts"]} for row in rows)
        return [figures[metric] for figures in merged if metric in figures]

    def ratios(self, key, base, metric):
        of = {number: {**row["times_ms"], **row["amounts"]}.get(metric) for number, row in self.runs[base].items()}
        mine = {number: {**row["times_ms"], **row["amounts"]}.get(metric) for number, row in self.runs[key].items()}
        return [mine[n] / of[n] for n in sorted(mine) if mine[n] is not None and of.get(n)]

    def metrics(self):
        found = {}
        for rows in self.runs.values():
            for row in rows.values():
                found.update({**row["times_ms"], **row["amounts"]})
        return set(found)


def way(key):
    return " · ".join(word for word in key[1:4] if word != "-")


def place(key):
    return (key[0], key[4], key[5])


class Comparison:
    def __init__(self):
        self.compared, self.wrong = 0, []

    def same(self, what, found, expected):
        self.compared += 1
        if not math.isclose(float(found), float(expected), rel_tol=1e-7, abs_tol=1e-9):
            self.wrong.append(f"{what}: {found} instead of {expected}")

    def equal(self, what, found, expected):
        self.compared += 1
        if found != expected:
            self.wrong.append(f"{what}: {found} instead of {expected}")

    def summary(self, what, median, low, high, confidence, values):
        expected = interval(values)
        self.same(f"{what} median", median, statistics.median(values))
        self.same(f"{what} low", low, expected[0])
        self.same(f"{what} high", high, expected[1])
        self.same(f"{what} confidence", confidence, expected[2])


def baseline_of(results, keys):
    """The first way of ctr in the order of the tables, or else the first way."""
    ctr = [way(key) for key in keys if key[1] == "ctr"]
    return ctr[0] if ctr else way(keys[0])


def check_csv(results, rows, comparison, keys, baseline):
    lines = {(tuple(row[axis] for axis in AXES), row["metric"]): row for row in rows}
    expected = {(key, metric) for key in results.runs for metric in results.metrics() if results.values(key, metric)}
    comparison.equal("lines of the CSV", set(lines), expected)
    for (key, metric), row in lines.items():
        values = results.values(key, metric)
        what = f"CSV {key} {metric}"
        comparison.summary(what, row["median"], row["low"], row["high"], row["confidence"], values)
        comparison.same(f"{what} count", row["count"], len(values))
        comparison.same(f"{what} least", row["least"], min(values))
        comparison.same(f"{what} most", row["most"], max(values))
        base = [other for other in results.runs if place(other) == place(key) and way(other) == baseline]
        ratios = results.ratios(key, base[0], metric) if base else []
        if not ratios:
            comparison.equal(f"{what} ratio", row["ratio"], "")
            continue
        low, high, _ = interval(ratios)
        comparison.same(f"{what} ratio", row["ratio"], statistics.median(ratios))
        comparison.same(f"{what} ratio_low", row["ratio_low"], low)
        comparison.same(f"{what} ratio_high", row["ratio_high"], high)


def check_page(results, seen, comparison, keys, baseline):
    comparison.equal("metrics of the page", set(seen["metrics"]), results.metrics())
    for metric, tables in seen["metrics"].items():
        shown = set()
        for line in tables["medians"]:
            key = keys[line["config"]]
            shown.add(key)
            comparison.equal(f"page {metric}", line["cells"][:4], [key[0], key[4], key[5], way(key)])
            comparison.summary(f"page {key} {metric}", line["values"]["median"], *line["interval"],
                               results.values(key, metric))
        comparison.equal(f"page {metric}", shown, {key for key in keys if results.values(key, metric)})
        comparison.equal(f"page {metric} lines", tables["steps"], len(shown))
        check_ratios(results, tables["ratios"], comparison, keys, baseline, metric)
    for base, lines in seen["baselines"].items():
        check_ratios(results, lines, comparison, keys, base, next(iter(seen["metrics"])))
    for image, lines in seen["images"].items():
        expected = [number for number, key in enumerate(keys) if image in ("all", key[0])]
        comparison.equal(f"page, image {image}", [line["config"] for line in lines], expected)
    for bar in seen["phases"]:
        rows = results.runs[keys[bar["config"]]].values()
        comparison.same(f"page {keys[bar['config']]} phase {bar['phase']}", bar["value"],
                        statistics.median(row["phases_ms"].get(bar["phase"], 0) for row in rows))


def check_ratios(results, lines, comparison, keys, baseline, metric):
    bases = {place(key): key for key in keys if way(key) == baseline}
    expected = {}
    for number, key in enumerate(keys):
        base = bases.get(place(key))
        ratios = results.ratios(key, base, metric) if base and base != key else []
        if ratios:
            expected[number] = ratios
    comparison.equal(f"page {metric} to {baseline}", [line["config"] for line in lines], list(expected))
    for line in lines:
        ratios = expected.get(line["config"])
        if ratios:
            comparison.summary(f"page {keys[line['config']]} {metric} to {baseline}", line["values"]["ratio"],
                               *line["interval"], ratios)


def main():
    results = Results(sys.argv[1])
    with open(sys.argv[2], newline="") as file:
        rows = list(csv.DictReader(file))
    with open(sys.argv[3]) as file:
        seen = json.load(file)
    keys = sorted(results.runs, key=lambda key: (key[0], key[4], key[5], way(key)))
    baseline = baseline_of(results, keys)
    comparison = Comparison()
    check_csv(results, rows, comparison, keys, baseline)
    check_page(results, seen, comparison, keys, baseline)
    if comparison.wrong:
        sys.exit("\n".join(comparison.wrong[:20]) + f"\n{len(comparison.wrong)} of {comparison.compared} differ")
    print(comparison.compared)


if __name__ == "__main__":
    main()
