"""Many images that share bases, made of this machine's own files and put straight into the storage of a docker-registry,
so that nothing has to be pushed.

Eight bases of three to five layers, thirty runtimes of one to three layers upon them, and upon each runtime applications
of two to four layers of their own."""

import concurrent.futures
import functools
import json
import os
import pathlib
import random
import shutil

import images

LARGEST_FILE = 8 << 20
BASES, RUNTIMES = 8, 30


def units(total, size):
    """Groups of files of about `size` bytes each, until there are `total` bytes."""
    groups, group, bytes_, sum_ = [], [], 0, 0
    for folder, names in images.own_folders():
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if status.st_size > LARGEST_FILE:
                continue
            group.append(path)
            bytes_ += status.st_size if not os.path.islink(path) else 0
            if bytes_ >= size:
                groups.append(group)
                sum_ += bytes_
                group, bytes_ = [], 0
                if sum_ >= total:
                    return groups
    raise SystemExit(f"this machine has only {sum_ >> 20} MiB of files that can be used, of {total >> 20} MiB")


def shapes(count):
    """How many layers each base, runtime and application has of its own, and upon what it stands; always the same."""
    source = random.Random(7)
    bases = [source.randint(3, 5) for _ in range(BASES)]
    runtimes = [(source.randrange(BASES), source.randint(1, 3)) for _ in range(RUNTIMES)]
    apps = [(source.randrange(RUNTIMES), source.randint(2, 4)) for _ in range(count)]
    return bases, runtimes, apps


class Deal:
    """Deals groups of files out to layers. A layer of the lowest images takes several."""

    def __init__(self, groups):
        self.groups, self.next = groups, 0

    def layer(self, weight):
        mine = self.groups[self.next:self.next + weight]
        self.next += weight
        return functools.partial(images.files, [path for group in mine for path in group])


def plan(count, total, unit):
    """The layers of every base, runtime and application, as archives."""
    bases, runtimes, apps = shapes(count)
    own = sum(layers for _, layers in apps)
    groups = units(total, unit)
    spare = len(groups) - own
    lower = sum(bases) + sum(layers for _, layers in runtimes)
    weight = spare // lower
    if weight < 1:
        raise SystemExit("too little for so many layers")
    deal = Deal(groups)
    return ([[deal.layer(weight) for _ in range(layers)] for layers in bases],
            [(base, [deal.layer(weight) for _ in range(layers)]) for base, layers in runtimes],
            [(runtime, [deal.layer(1) for _ in range(layers)]) for runtime, layers in apps])


class Storage:
    """The folder of a docker-registry."""

    def __init__(self, folder):
        self.root = folder / "docker/registry/v2"

    def blob(self, digest):
        hexadecimal = digest.removeprefix("sha256:")
        return self.root / "blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"

    def adopt(self, file, digest):
        target = self.blob(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)

    def link(self, repository, kind, digest):
        folder = self.root / "repositories" / repository / kind / "sha256" / digest.removeprefix("sha256:")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "link").write_text(digest)

    def tag(self, repository, tag, digest):
        folder = self.root / "repositories" / repository / "_manifests/tags" / tag
        for name in ("current", f"index/sha256/{digest.removeprefix('sha256:')}"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "link").write_text(digest)
        self.link(repository, "_manifests/revisions", digest)


def put_image(storage, blobs, repository, layers):
    """`layers`: descriptor and DiffID of each, the lowest first."""
    config = images.put_json(blobs, {
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"], "Labels": {"name": repository}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}}, images.CONFIG)
    manifest = images.put_json(blobs, {
        "schemaVersion": 2, "mediaType": images.MANIFEST, "config": config,
        "layers": [layer for layer, _ in layers]}, images.MANIFEST)
    for descriptor in (config, manifest):
        storage.adopt(blobs / descriptor["digest"].removeprefix("sha256:"), descriptor["digest"])
    for descriptor in [config] + [layer for layer, _ in layers]:
        storage.link(repository, "_layers", descriptor["digest"])
    storage.tag(repository, "1", manifest["digest"])
    return [config["digest"]] + [layer["digest"] for layer, _ in layers]


def make(folder, count, megabytes):
    """Makes the registry's storage in `folder`, unless it is there, and returns what fleet.json says: `images`, each with
    repository, tag and blobs; `unpacked` bytes of all distinct layers, `compressed` the same as they are stored."""
    if (folder / "fleet.json").exists():
        return json.loads((folder / "fleet.json").read_text())
    print(f"making {count} images of {megabytes} MiB …", flush=True)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    blobs = partial / "new"
    blobs.mkdir(parents=True)
    bases, runtimes, apps = plan(count, megabytes << 20, 1 << 20)
    archives = [layer for base in bases for layer in base]
    archives += [layer for _, own in runtimes + apps for layer in own]
    with concurrent.futures.ProcessPoolExecutor() as pool:
        made = iter(list(pool.map(functools.partial(images.make_layer, blobs, "gzip"), archives, chunksize=4)))
    storage = Storage(partial)
    bases = [[next(made) for _ in base] for base in bases]
    runtimes = [bases[base] + [next(made) for _ in own] for base, own in runtimes]
    stacks = [runtimes[runtime] + [next(made) for _ in own] for runtime, own in apps]
    distinct = {layer["digest"]: layer for stack in stacks for layer, _ in stack}
    for digest in distinct:
        storage.adopt(blobs / digest.removeprefix("sha256:"), digest)
    found = []
    for number, stack in enumerate(stacks):
        repository = f"team{number % 10}/app{number}"
        found.append({"repository": repository, "tag": "1", "blobs": put_image(storage, blobs, repository, stack),
                      "layers": len(stack)})
    shutil.rmtree(blobs)
    fleet = {"images": found, "layers": len(distinct), "compressed": sum(layer["size"] for layer in distinct.values()),
             "unpacked": sum(unpacked(storage.blob(digest)) for digest in distinct)}
    (partial / "fleet.json").write_text(json.dumps(fleet))
    partial.rename(folder)
    return fleet


def unpacked(blob):
    """The size of a gzip file's content, as its last four bytes have it."""
    with open(blob, "rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(), "little")


if __name__ == "__main__":
    import sys
    print({key: value for key, value in make(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).items()
           if key != "images"})
