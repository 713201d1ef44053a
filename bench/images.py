"""Images for benchmarks and demonstrations, made on the spot from the machine's own files as OCI image layouts.

An archive is a function that writes into a tarfile.TarFile; it is pickled, because layers are made in parallel."""

import concurrent.futures
import functools
import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import tarfile

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LARGEST_FILE = 128 << 20


class HashingWriter:
    """Passes bytes on and digests them."""

    def __init__(self, target):
        self.target = target
        self.hash = hashlib.sha256()

    def write(self, data):
        self.hash.update(data)
        return self.target.write(data)

    def digest(self):
        return "sha256:" + self.hash.hexdigest()


def write_archive(archive, target):
    """Writes the archive to a file object and returns its digest, the layer's DiffID."""
    writer = HashingWriter(target)
    with tarfile.open(fileobj=writer, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        archive(tar)
    return writer.digest()


def make_layer(blobs, compression, archive):
    """Writes one layer's blob; returns its descriptor and DiffID."""
    unnamed = blobs / f"new-{os.getpid()}"
    with open(unnamed, "wb") as file:
        writer = HashingWriter(file)
        if compression == "gzip":
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=writer, mtime=0) as compressed:
                diff_id = write_archive(archive, compressed)
            digest = writer.digest()
        else:
            process = subprocess.Popen(["zstd", "-3", "--quiet", "--stdout"], stdin=subprocess.PIPE, stdout=file)
            diff_id = write_archive(archive, process.stdin)
            process.stdin.close()
            if process.wait() != 0:
                raise SystemExit("zstd failed")
            with open(unnamed, "rb") as written:
                digest = "sha256:" + hashlib.file_digest(written, "sha256").hexdigest()
    size = unnamed.stat().st_size
    unnamed.rename(blobs / digest.removeprefix("sha256:"))
    return {"mediaType": GZIP if compression == "gzip" else ZSTD, "digest": digest, "size": size}, diff_id


def put_json(blobs, value, media_type):
    data = json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def write_layout(folder, archives, compression="gzip", tag="latest", process=None):
    """Makes an image layout of these archives, one layer each. It is complete once it has its name. `process` is the
    `config` of the image's configuration: what is run, and as whom."""
    folder = pathlib.Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    blobs = partial / "blobs/sha256"
    blobs.mkdir(parents=True)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        made = list(pool.map(functools.partial(make_layer, blobs, compression), archives))
    config = put_json(blobs, {
        "architecture": "amd64", "os": "linux", "config": process or {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in made]}}, CONFIG)
    manifest = put_json(blobs, {"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                                "layers": [layer for layer, _ in made]}, MANIFEST)
    manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (partial / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (partial / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    partial.rename(folder)


def layer_sizes(folder):
    """The compressed bytes of each layer of a layout's image."""
    folder = pathlib.Path(folder)
    index = json.loads((folder / "index.json").read_text())
    manifest = folder / "blobs" / index["manifests"][0]["digest"].replace(":", "/")
    return [layer["size"] for layer in json.loads(manifest.read_text())["layers"]]


def add_parents(tar, path, seen):
    """Folders that no entry names would be created with the time of the extraction."""
    missing = []
    while (path := os.path.dirname(path)) not in ("/", "") and path not in seen:
        missing.append(path)
        seen.add(path)
    for folder in reversed(missing):
        tar.add(folder, recursive=False)


def files(paths, tar):
    """Archive of these files of the machine, at their own paths."""
    seen = set()
    for path in paths:
        add_parents(tar, path, seen)
        try:
            tar.add(path, recursive=False)
        except (FileNotFoundError, PermissionError):
            continue


def made_folder(tar, name):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
    tar.addfile(entry)


def made_file(tar, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), mode, 1_700_000_000
    tar.addfile(entry, io.BytesIO(data))


def small(number, tar):
    """Archive of one small file."""
    made_folder(tar, "layers")
    made_file(tar, f"layers/{number}", f"layer {number}\n".encode() * 200)


def tiny(first, count, tar):
    """Archive of so many files of a few hundred bytes, a hundred in a folder."""
    source = random.Random(first)
    made_folder(tar, "tiny")
    for number in range(first, first + count):
        folder = f"tiny/{number // 100}"
        if number % 100 == 0:
            made_folder(tar, folder)
        made_file(tar, f"{folder}/{number}", source.randbytes(source.randrange(20, 600)).hex().encode())


def busybox(greeting, tar):
    """Archive of a shell, and of a file to print."""
    made_folder(tar, "bin")
    made_file(tar, "bin/busybox", pathlib.Path("/bin/busybox").read_bytes(), 0o755)
    for applet in ("sh", "cat", "ls", "echo"):
        link = tarfile.TarInfo(f"bin/{applet}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
    made_file(tar, "greeting", greeting)


def own_folders():
    """The folders below /usr with their files and symbolic links, in an order that mixes programs, libraries and
    data and is always the same."""
    found = []
    for root in ("/usr/bin", "/usr/lib", "/usr/share"):
        for folder, folders, names in os.walk(root):
            folders.sort()
            found.append((folder, sorted(names)))
    random.Random(1).shuffle(found)
    return found


def own_files(megabytes, layers):
    """Dealt out to layers of the same size until there are `megabytes` of them, uncompressed."""
    wanted = megabytes << 20
    groups, total = [[] for _ in range(layers)], 0
    for folder, names in own_folders():
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if status.st_size > LARGEST_FILE:
                continue
            groups[total * layers // wanted].append(path)
            total += status.st_size if not os.path.islink(path) else 0
            if total >= wanted:
                return groups
    return groups


def archives(kind, megabytes, tiny_files=100_000):
    """What the benchmark's image of this kind is made of."""
    partial = functools.partial
    if kind in ("large", "zstd"):
        return [partial(files, group) for group in own_files(megabytes, 8)]
    if kind == "small40":
        return [partial(small, number) for number in range(40)]
    step = tiny_files // 4
    return [partial(tiny, first, step) for first in range(0, 4 * step, step)]
