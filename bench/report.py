"""Makes a table, a chart and JSON of the single runs."""

import json
import statistics

import chart

BASES = ("ctr", "ctr-remote", "podman", "skopeo")
WITHOUT_UNPACKING = ("skopeo", "lazypull-fetch")


class Report:
    def __init__(self):
        self.runs = []
        self.images = {}

    def add(self, case, client, round_, figures):
        self.runs.append({"case": case, "client": client, "round": round_, **figures})

    def cases(self):
        return list(dict.fromkeys(run["case"] for run in self.runs))

    def clients(self, case):
        return sorted(dict.fromkeys(run["client"] for run in self.runs if run["case"] == case))

    def figures(self, case, client, name):
        return {run["round"]: run[name] for run in self.runs if run["case"] == case and run["client"] == client}

    def ratio(self, case, client, base):
        """The median of the pairs' ratios, so that a machine that slows down in the middle does not count."""
        mine, theirs = self.figures(case, client, "wall"), self.figures(case, base, "wall")
        return statistics.median(mine[round_] / theirs[round_] for round_ in mine if round_ in theirs)

    def bases(self, case, client):
        """The peers that do the same."""
        return [base for base in BASES if base in self.clients(case) and base != client
                and (base in WITHOUT_UNPACKING) == (client in WITHOUT_UNPACKING)]

    def summary(self, case, client):
        wall = self.figures(case, client, "wall").values()
        return {
            "wall": statistics.median(wall), "least": min(wall), "most": max(wall), "runs": len(wall),
            "cpu": statistics.median(self.figures(case, client, "cpu").values()),
            "memory": statistics.median(self.figures(case, client, "memory").values()),
            "ratios": {base: self.ratio(case, client, base) for base in self.bases(case, client)}}

    def table(self):
        lines = [f"{'case':8} {'client':22} {'wall s':>7} {'least':>7} {'most':>7} {'cpu s':>7} {'MiB':>6}  ratios"]
        for case in self.cases():
            for client in self.clients(case):
                s = self.summary(case, client)
                ratios = "  ".join(f"{ratio:.2f} of {base}" for base, ratio in s["ratios"].items())
                lines.append(f"{case:8} {client:22} {s['wall']:7.3f} {s['least']:7.3f} {s['most']:7.3f} "
                             f"{s['cpu']:7.2f} {s['memory'] / 2**20:6.0f}  {ratios}")
        return "\n".join(lines)

    def write(self, folder, settings):
        folder.mkdir(parents=True, exist_ok=True)
        summaries = {case: {client: self.summary(case, client) for client in self.clients(case)}
                     for case in self.cases()}
        (folder / "pull.json").write_text(json.dumps(
            {"settings": settings, "images": self.images, "summaries": summaries, "runs": self.runs}, indent=1))
        bars = {f"{case}: {self.images[case]}": {name: (s["wall"], s["least"], s["most"]) for name, s in found.items()}
                for case, found in summaries.items()}
        (folder / "pull.svg").write_text(chart.svg("Time of a pull (median and range)", bars))
