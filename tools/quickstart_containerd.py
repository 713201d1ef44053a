#!/usr/bin/env python3
"""Shows the main job on the real stack: an image made on the spot, pushed to a private registry, pulled into a
private containerd with overlayfs (every layer downloaded) and with the stargz snapshotter (every layer mounted)."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import images  # noqa: E402
from peers import REPOSITORY, Containerd, Registry, Scratch, push, require_root, run, to_estargz  # noqa: E402

BUILD = REPOSITORY / os.environ.get("BUILD", "build/release")
LAZYPULL = BUILD / "tools/lazypull"


def pull(containerd, reference, snapshotter):
    """Pulls with the command's own progress on the terminal and returns its result object."""
    argv = [LAZYPULL, "--address", containerd.socket, "pull", "--snapshotter", snapshotter, "--output", "json",
            "--progress", "plain", reference]
    print(f"\n$ lazypull pull --snapshotter {snapshotter} {reference}", flush=True)
    start = time.monotonic()
    result = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - start
    if result.returncode != 0:
        sys.exit(f"lazypull exited with {result.returncode}: {result.stdout}")
    totals = json.loads(result.stdout)["totals"]
    output = run("ctr", "--address", containerd.socket, "run", "--rm", "--snapshotter", snapshotter, reference,
                 f"quickstart-{snapshotter}", "/bin/cat", "/greeting")
    print(f"the container says: {output.strip()}")
    return seconds, totals


def main():
    require_root()
    scratch = Scratch(purpose="lazypull-quickstart")
    registry = Registry(scratch)
    containerd = Containerd(scratch / "containerd", BUILD / "peers/stargz")
    print("making an image of this machine's own files …", flush=True)
    archives = [functools.partial(images.files, group) for group in images.own_files(80, 4)]
    archives.append(functools.partial(images.busybox, b"hello from the image\n"))
    images.write_layout(scratch / "layout", archives)
    plain = push(scratch / "layout", registry, "demo:plain")
    lazy = to_estargz(containerd, plain, f"{registry.host}/demo:estargz")
    containerd.ctr("images", "rm", "--sync", plain, lazy)

    rows = [("overlayfs", *pull(containerd, plain, "overlayfs")), ("stargz", *pull(containerd, lazy, "stargz"))]
    print(f"\n{'snapshotter':12} {'seconds':>8} {'fetched MiB':>12} {'avoided MiB':>12}")
    for name, seconds, totals in rows:
        print(f"{name:12} {seconds:8.2f} {totals['fetchedBytes'] / 2**20:12.1f} {totals['avoidedBytes'] / 2**20:12.1f}")
    containerd.stop()


if __name__ == "__main__":
    main()
