#!/usr/bin/python3
"""Measures what nodes ask of a registry when each of them prewarms the same images: straight from it, and through a mirror
that keeps what it has fetched once (Debian's docker-registry as a pull-through cache, in hosts.toml as Spegel or Dragonfly
would be). Each node is a `lazypull --store … prewarm` into an empty store. Both registries' logs are counted, and from what a
node asks for follows what a thousand do."""

import argparse
import json
import pathlib

import fleet
from peers import REPOSITORY, Daemon, Scratch, answers, free_port, run
from prewarm import REQUEST


class CountedRegistry:
    def __init__(self, scratch, name, storage, proxy_of=None):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.log = scratch / f"{name}.log"
        config = {"version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": str(storage)}},
                  "http": {"addr": self.host, "secret": "not-secret"}}
        if proxy_of:
            config["proxy"] = {"remoteurl": f"http://{proxy_of}"}
        (scratch / f"{name}.yml").write_text(json.dumps(config))
        self.daemon = Daemon(["docker-registry", "serve", scratch / f"{name}.yml"], self.log,
                             lambda: answers(self.port), name)
        self.seen = 0

    def traffic(self):
        """What was asked for since the last call."""
        with open(self.log, "rb") as file:
            file.seek(self.seen)
            text = file.read()
        self.seen += len(text)
        found = [(m[1], m[3], int(m[6])) for m in REQUEST.finditer(text.decode(errors="replace"))]
        kinds = {"HEAD of manifests": 0, "GET of manifests": 0, "HEAD of blobs": 0, "GET of blobs": 0}
        for method, kind, _ in found:
            kinds[f"{method} of {kind}"] += 1
        return {"requests": len(found), "bytes": sum(bytes_ for *_, bytes_ in found), **kinds}


def prewarm(arguments, scratch, node, references, hosts):
    listed = scratch / "images.txt"
    listed.write_text("".join(f"{reference}\n" for reference in references))
    run(arguments.build / "tools/lazypull", "--store", scratch / node, "prewarm", listed, "--hosts-dir", hosts, "--quiet")
    run("rm", "-rf", scratch / node)


def show(name, traffic):
    details = ", ".join(f"{count} {kind}" for kind, count in traffic.items() if kind not in ("requests", "bytes") and count)
    print(f"  {name}: {traffic['requests']} requests ({details}), {traffic['bytes'] / 2**20:.1f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--megabytes", type=int, default=1200)
    parser.add_argument("--nodes", type=int, default=3, help="through the mirror")
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build/release")
    parser.add_argument("--cache", type=pathlib.Path, default=REPOSITORY / "build/bench-images")
    arguments = parser.parse_args()
    scratch = Scratch(purpose="lazypull-rollout")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    storage = arguments.cache / f"fleet-{arguments.images}-{arguments.megabytes}"
    made = fleet.make(storage, arguments.images, arguments.megabytes)
    registry = CountedRegistry(scratch, "registry", storage)
    hosts = scratch / "hosts"
    hosts.mkdir()
    references = [f"{registry.host}/{image['repository']}:{image['tag']}" for image in made["images"]]

    print(f"{len(references)} images; straight from the registry", flush=True)
    prewarm(arguments, scratch, "alone", references, hosts)
    alone = registry.traffic()
    show("a node asks the registry", alone)

    print("through a mirror", flush=True)
    mirror = CountedRegistry(scratch, "mirror", scratch / "mirror-storage", registry.host)
    folder = hosts / "_default"
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'[host."http://{mirror.host}"]\n  capabilities = ["pull", "resolve"]\n')
    upstream = []
    for node in range(arguments.nodes):
        prewarm(arguments, scratch, f"node-{node}", references, hosts)
        upstream.append(registry.traffic())
        show(f"node {node + 1} asks the mirror", mirror.traffic())
        show("  and the mirror the registry", upstream[-1])

    first, later = upstream[0], upstream[-1]
    print("a thousand nodes ask the registry")
    for name, requests, bytes_ in (
            ("straight", 1000 * alone["requests"], 1000 * alone["bytes"]),
            ("through such a mirror", first["requests"] + 999 * later["requests"], first["bytes"] + 999 * later["bytes"])):
        print(f"  {name}: {requests:,} requests, {bytes_ / 2**30:,.1f} GiB")


if __name__ == "__main__":
    main()
