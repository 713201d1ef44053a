"""How much of an image's files is read before its container is ready, on an ordinary file system.

The image is unpacked into an ext4 file system of its own, which is mounted through a loop device: so its pages are in
nobody's cache before, and its read-ahead can be set without touching other devices. A container is started on an
overlayfs above it. When it is ready it is killed, and util-linux's fincore says of each file how much of it is in the
page cache. Without read-ahead these are the pages that were read or mapped; with that of the kernel's default also
what was read with them."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from peers import mounts_below, run

READ_AHEAD_KIB = {"pages": 0, "read_ahead": 128}
LIMIT = 60


def port_is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def image_process(layout):
    """What the image says is to be run."""
    def blob(digest):
        return json.loads((layout / "blobs" / digest.replace(":", "/")).read_text())
    index = json.loads((layout / "index.json").read_text())
    manifest = blob(index["manifests"][0]["digest"])
    return blob(manifest["config"]["digest"])["config"]


class UnpackedImage:
    """The image's files in a file system of its own."""

    def __init__(self, layout, scratch):
        self.folder = scratch / f"touched-{layout.name}"
        self.folder.mkdir()
        self.process = image_process(layout)
        run("umoci", "unpack", "--image", f"{layout}:latest", self.folder / "bundle")
        self.device = self.folder / "image.ext4"
        used = int(run("du", "-s", "-B1", self.folder / "bundle/rootfs").split()[0])
        with open(self.device, "wb") as file:
            file.truncate(used * 5 // 4 + (64 << 20))
        run("mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", self.folder / "bundle/rootfs", self.device)
        shutil.rmtree(self.folder / "bundle")
        for name in ("lower", "upper", "work", "rootfs"):
            (self.folder / name).mkdir()

    def measure(self, ready, read_ahead_kib):
        """Starts a container; returns its file system's files and bytes, and those of them that were read."""
        lower, upper, work = (self.folder / name for name in ("lower", "upper", "work"))
        run("mount", "-t", "ext4", "-o", "loop,ro,noatime", self.device, lower)
        try:
            loop = run("findmnt", "--noheadings", "--output", "SOURCE", lower).strip()
            queue = pathlib.Path("/sys/block") / pathlib.Path(loop).name / "queue/read_ahead_kb"
            queue.write_text(str(read_ahead_kib))
            run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}",
                self.folder / "rootfs")
            self.start(ready)
            return count_pages(lower)
        finally:
            for point in mounts_below(self.folder):
                run("umount", point)
            for made in (upper, work):
                shutil.rmtree(made)
                made.mkdir()

    def start(self, ready):
        """Runs a container until it is ready."""
        (self.folder / "config.json").write_text(json.dumps(runtime_spec(self.process)))
        name = f"lazypull-study-{os.getpid()}"
        output = self.folder / "output"
        with open(output, "wb") as file:
            container = subprocess.Popen(["runc", "run", "--bundle", self.folder, name], stdin=subprocess.DEVNULL,
                                         stdout=file, stderr=file)
        deadline = time.monotonic() + LIMIT
        try:
            while not (port_is_open(ready["tcp"]) if "tcp" in ready else ready["log"] in output.read_text()):
                ended = container.poll() is not None and "tcp" in ready
                if ended or time.monotonic() > deadline:
                    raise SystemExit(f"{self.folder.name}: the container was not ready:\n{output.read_text()[-2000:]}")
                time.sleep(0.005)
        finally:
            subprocess.run(["runc", "delete", "--force", name], capture_output=True, check=False)
            container.wait(20)

    def remove(self):
        shutil.rmtree(self.folder)


def runtime_spec(process):
    with tempfile.TemporaryDirectory() as folder:
        run("runc", "spec", "--bundle", folder)
        spec = json.loads((pathlib.Path(folder) / "config.json").read_text())
    user = [int(number) for number in process.get("User", "0:0").split(":")]
    spec["process"].update(terminal=False, args=process["Cmd"], env=process["Env"], cwd="/",
                           user={"uid": user[0], "gid": user[1]})
    for kind in ("bounding", "effective", "permitted"):
        spec["process"]["capabilities"][kind] = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETGID", "CAP_SETUID",
                                                 "CAP_KILL", "CAP_FOWNER"]
    spec["root"] = {"path": "rootfs", "readonly": False}
    spec["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "cgroup"]
    return spec


def count_pages(folder):
    """Files of the folder with their bytes, in all and in the page cache."""
    files, seen = [], set()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            if os.path.isfile(path) and not os.path.islink(path) and status.st_size and status.st_ino not in seen:
                seen.add(status.st_ino)
                files.append(path)
    table = subprocess.run(["xargs", "-0", "fincore", "--bytes", "--raw", "--noheadings", "--output", "RES,SIZE"],
                           input="\0".join(files), capture_output=True, text=True, check=True).stdout
    rows = [[int(field) for field in line.split()] for line in table.splitlines()]
    if len(rows) != len(files):
        raise SystemExit(f"fincore told of {len(rows)} of {len(files)} files")
    # A file's last page counts only as far as the file goes.
    return {"files": len(rows), "bytes": sum(size for _, size in rows),
            "files_read": sum(cached > 0 for cached, _ in rows), "bytes_read": sum(min(row) for row in rows)}


def measure_all(images, folder, scratch, repetitions):
    """By image and read-ahead the counts of each repetition. `images`: the specification's."""
    results = {}
    for image in images:
        print(f"{image['name']}: what is read", flush=True)
        unpacked = UnpackedImage(folder / image["layout"], scratch)
        results[image["name"]] = {
            name: [unpacked.measure(image["start"]["ready"], kib) for _ in range(repetitions)]
            for name, kib in READ_AHEAD_KIB.items()}
        unpacked.remove()
    return results
