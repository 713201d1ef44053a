#!/usr/bin/python3
"""Compares `lazypull prewarm` of many images that share bases with what a node would do otherwise, in one run:

  ctr        xargs -P 8 ctr images pull
  cri        PullImage of containerd's CRI plugin, eight at a time
  lazypull   lazypull prewarm, eight images at a time

The registry is Debian's docker-registry behind a relay that adds --latency. Each client has a containerd of its own that
has just been started, all storage is on tmpfs, and what they end with must be the same snapshots. The registry's log says
what was asked for: with lazypull each blob must have been asked for exactly once. Needs root, a release build, and
`tools/deps.sh bench`. Run it with Debian's own Python, /usr/bin/python3, which has grpc."""

import argparse
import collections
import json
import pathlib
import re
import statistics
import sys

import fleet
from measure import run_timed
from peers import REPOSITORY, Containerd, Daemon, Scratch, answers, free_port, remove_tree, require_root

REQUEST = re.compile(r'"(GET|HEAD) /v2/(\S+?)/(manifests|blobs)/(\S+) HTTP[^"]*" (\d+) (\d+)')
HERE = pathlib.Path(__file__).resolve().parent


class LoggingRegistry:
    """Debian's docker-registry on the storage of a fleet, behind the relay; its access log is kept."""

    def __init__(self, scratch, storage, latency):
        port = free_port()
        self.log = scratch / "registry.log"
        config = scratch / "registry.yml"
        config.write_text(json.dumps({
            "version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": str(storage)}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "not-secret"}}))
        self.daemon = Daemon(["docker-registry", "serve", config], self.log, lambda: answers(port), "docker-registry")
        if latency > 0:
            relay = free_port()
            self.relay = Daemon([sys.executable, HERE / "delay.py", relay, port, latency], scratch / "relay.log",
                                lambda: answers(relay), "the relay")
            port = relay
        self.host = f"127.0.0.1:{port}"
        self.seen = 0

    def requests(self):
        """Method, kind (manifests or blobs), what, status and bytes of each since the last call."""
        with open(self.log, "rb") as file:
            file.seek(self.seen)
            text = file.read()
        self.seen += len(text)
        return [(m[1], m[3], m[4], int(m[5]), int(m[6])) for m in REQUEST.finditer(text.decode(errors="replace"))]


class Client:
    namespace = "default"
    cri = False

    def __init__(self, folder, bench):
        self.folder, self.bench = folder, bench
        self.containerd = Containerd(folder / "containerd", cri=self.cri)
        self.references = folder / "images.txt"
        self.references.write_text("".join(f"{reference}\n" for reference in bench.references))

    def snapshots(self):
        """The names of those that are committed."""
        lines = self.containerd.ctr("--namespace", self.namespace, "snapshots", "ls").splitlines()[1:]
        return {line.split()[0] for line in lines if line.split()[-1] == "Committed"}

    def stop(self):
        self.containerd.stop()
        remove_tree(self.folder)


class Ctr(Client):
    def command(self):
        return ["xargs", "-a", self.references, "-n", "1", "-P", str(self.bench.concurrency), "ctr", "--address",
                self.containerd.socket, "images", "pull", "--plain-http"]


class Cri(Client):
    namespace = "k8s.io"
    cri = True

    def command(self):
        return [sys.executable, HERE / "cri_pull.py", self.containerd.socket, str(self.bench.concurrency),
                self.references]


class Lazypull(Client):
    def command(self):
        return [self.bench.lazypull, "--address", self.containerd.socket, "prewarm", self.references,
                "--max-concurrent-images", str(self.bench.concurrency), "--quiet", *self.bench.flags]


CLIENTS = {"lazypull": Lazypull, "ctr": Ctr, "cri": Cri}


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lazypull = arguments.build / "tools/lazypull"
        self.concurrency = arguments.concurrency
        self.flags = arguments.flags.split()
        self.scratch = Scratch(purpose="lazypull-prewarm")
        storage = arguments.cache / f"fleet-{arguments.images}-{arguments.megabytes}"
        arguments.cache.mkdir(parents=True, exist_ok=True)
        self.fleet = fleet.make(storage, arguments.images, arguments.megabytes)
        self.registry = LoggingRegistry(self.scratch, storage, arguments.latency)
        self.references = [f"{self.registry.host}/{image['repository']}:{image['tag']}" for image in self.fleet["images"]]
        self.blobs = {blob for image in self.fleet["images"] for blob in image["blobs"]}
        self.runs = []
        self.snapshots = None

    def traffic(self):
        requests = self.registry.requests()
        fetched = collections.Counter(what for method, kind, what, status, _ in requests
                                      if kind == "blobs" and method == "GET" and status in (200, 206))
        return {"requests": len(requests), "bytes": sum(bytes_ for *_, bytes_ in requests),
                "blobs": sum(fetched.values()), "repeated": sum(count - 1 for count in fetched.values()),
                "missing": len(self.blobs - set(fetched))}

    def measure(self, name, round_):
        client = CLIENTS[name](self.scratch / f"{name}-{round_}", self)
        self.registry.requests()
        figures = run_timed([client.command()], client.containerd.pids())
        figures.update(self.traffic(), client=name, round=round_, own_memory=figures["memory"] - figures["daemon_memory"])
        snapshots = client.snapshots()
        client.stop()
        self.snapshots = self.snapshots or snapshots
        if snapshots != self.snapshots:
            sys.exit(f"{name} made {len(snapshots)} snapshots, which are not those of the first client")
        if name == "lazypull" and (figures["repeated"] or figures["missing"]):
            sys.exit(f"lazypull has not asked for each blob exactly once: {figures}")
        self.runs.append(figures)
        print(f"  {name:9} {figures['wall']:7.2f} s  CPU {figures['cpu']:6.2f} s  {figures['requests']} requests  "
              f"{figures['blobs']} blobs ({figures['repeated']} again)  {figures['bytes'] / 2**20:.0f} MiB", flush=True)

    def run(self):
        described = {key: value for key, value in self.fleet.items() if key != "images"}
        layers = [image["layers"] for image in self.fleet["images"]]
        print(f"{len(layers)} images of {min(layers)} to {max(layers)} layers; {described['layers']} distinct layers, "
              f"{described['compressed'] / 2**20:.0f} MiB compressed, {described['unpacked'] / 2**20:.0f} MiB unpacked; "
              f"{self.arguments.latency:g} ms of latency", flush=True)
        names = [name for name in CLIENTS if name in self.arguments.clients]
        for round_ in range(self.arguments.runs):
            turn = round_ % len(names)
            for name in names[turn:] + names[:turn]:
                self.measure(name, round_)
        self.report(described)

    def of(self, name, figure):
        return {run["round"]: run[figure] for run in self.runs if run["client"] == name}

    def report(self, described):
        for name in dict.fromkeys(run["client"] for run in self.runs):
            wall = statistics.median(self.of(name, "wall").values())
            line = f"{name:9} {wall:7.2f} s"
            if name != "lazypull" and self.of("lazypull", "wall"):
                mine, theirs = self.of("lazypull", "wall"), self.of(name, "wall")
                ratio = statistics.median(mine[round_] / theirs[round_] for round_ in mine)
                line += f"   lazypull takes {ratio:.2f} of it"
            if name == "lazypull":
                line += f"   peak memory {max(self.of(name, 'own_memory').values()) / 2**20:.0f} MiB"
            print(line)
        if self.arguments.out:
            self.arguments.out.mkdir(parents=True, exist_ok=True)
            settings = {name: str(value) for name, value in vars(self.arguments).items()}
            (self.arguments.out / "prewarm.json").write_text(
                json.dumps({"settings": settings, "fleet": described, "runs": self.runs}, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--megabytes", type=int, default=1200, help="of all distinct layers together, unpacked")
    parser.add_argument("--latency", type=float, default=20, help="added milliseconds, there and back")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--clients", nargs="+", default=list(CLIENTS), choices=CLIENTS)
    parser.add_argument("--flags", default="", help="further flags of lazypull prewarm")
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build/release")
    parser.add_argument("--cache", type=pathlib.Path, default=REPOSITORY / "build/bench-images",
                        help="where images are kept between runs")
    parser.add_argument("--out", type=pathlib.Path, help="folder for prewarm.json")
    arguments = parser.parse_args()
    require_root()
    Bench(arguments).run()


if __name__ == "__main__":
    main()
