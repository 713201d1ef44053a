"""Images for benchmarks, made on the spot from the machine's own files."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile

from peers import run

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layout:
    """An OCI image layout that is being written."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "blobs/sha256").mkdir(parents=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, archives, tag="latest"):
        """An image of these tar archives, each a gzip layer."""
        layers, diff_ids = [], []
        for archive in archives:
            diff_ids.append("sha256:" + hashlib.sha256(archive).hexdigest())
            layers.append(self.blob(gzip.compress(archive, 6, mtime=0), GZIP))
        config = self.blob(json.dumps({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode(),
            "application/vnd.oci.image.config.v1+json")
        manifest = self.blob(json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
            "layers": layers}).encode(), "application/vnd.oci.image.manifest.v1+json")
        manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
        return sum(layer["size"] for layer in layers)


def archive_of_files(paths):
    """A tar archive of these files, at their own paths."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in paths:
            archive.add(path, arcname=str(path).lstrip("/"), recursive=False)
    return buffer.getvalue()


def busybox_archive():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add("/bin/busybox", arcname="bin/busybox")
        for applet in ("sh", "cat", "ls", "echo"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


def own_files(megabytes, layers):
    """Regular files below /usr, dealt out to layers until there are `megabytes` of them (uncompressed)."""
    wanted = megabytes << 20
    groups = [[] for _ in range(layers)]
    total = 0
    for folder, folders, names in os.walk("/usr/lib"):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            size = os.path.getsize(path)
            if size > 64 << 20:
                continue
            groups[total * layers // wanted if total < wanted else layers - 1].append(path)
            total += size
            if total >= wanted:
                return groups
    return groups


def archive_of(files):
    """A tar archive of files given by path and content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def small_layers(count):
    """Archives of one small file each."""
    return [archive_of({f"layers/{i}": f"layer {i}\n".encode() * 200}) for i in range(count)]


def push(layout, registry, name):
    reference = f"{registry.host}/{name}"
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout.folder}:latest", f"docker://{reference}")
    return reference


def push_estargz(containerd, source, target):
    """Converts a pushed image to eStargz with ctr-remote, through this containerd, and pushes it."""
    containerd.ctr("content", "fetch", "--plain-http", source)
    run("ctr-remote", "--address", containerd.socket, "images", "convert", "--estargz", "--oci", source, target)
    containerd.ctr("images", "push", "--plain-http", target)
    return target
