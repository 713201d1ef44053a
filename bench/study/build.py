#!/usr/bin/python3
"""Builds the study's images from Debian packages: OCI image layouts, and the same as eStargz. Needs root."""

import argparse
import functools
import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import images
import rootfs
from peers import REPOSITORY, Containerd, Scratch, require_root, run
from workloads import WORKLOADS


def layer_folders(workload, cache):
    """The folders of the image's layers, made where they are not there yet."""
    base = cache / "layers/base"
    if not base.exists():
        print("base: a minimal Debian", flush=True)
        rootfs.make_base(base)
    folders = [base]
    packages = cache / f"layers/{workload.name}-packages"
    if not packages.exists():
        print(f"{workload.name}: {' '.join(workload.packages)}", flush=True)
        before = workload.before + "; " if workload.before else ""
        rootfs.add_layer(folders, packages, before + rootfs.install(workload.packages))
    folders.append(packages)
    application = cache / f"layers/{workload.name}-application"
    if not application.exists():
        print(f"{workload.name}: the application", flush=True)
        rootfs.add_layer(folders, application, application_script(workload))
    return [*folders, application]


def application_script(workload):
    commands = []
    for path, text in workload.files.items():
        commands.append(f"mkdir -p $(dirname {path})\ncat > {path} <<'END OF FILE'\n{text}END OF FILE\n")
    return "".join(commands) + workload.script


def write_layout(workload, folders, target):
    process = {"Cmd": workload.command, "WorkingDir": "/",
               "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *workload.env]}
    if workload.user:
        process["User"] = rootfs.user_numbers(folders, workload.user)
    images.write_layout(target, [functools.partial(rootfs.archive, folder) for folder in folders], process=process)


def write_estargz(containerd, scratch, source, target):
    """The image with its layers converted by ctr-remote."""
    archive = scratch / "image.tar"
    base = f"converted.example.com/{source.name}"
    run("tar", "-C", source, "-cf", archive, ".")
    containerd.ctr("images", "import", "--no-unpack", "--base-name", base, archive)
    run("ctr-remote", "--address", containerd.socket, "images", "convert", "--estargz", "--oci",
        f"{base}:latest", f"{base}:estargz")
    containerd.ctr("images", "export", archive, f"{base}:estargz")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    run("tar", "-C", partial, "-xf", archive)
    archive.unlink()
    partial.rename(target)


def describe(workload, folders, layout):
    """What the image consists of, for the study's data."""
    status = subprocess.run(["dpkg-query", f"--admindir={folders[1]}/var/lib/dpkg", "--show", "--showformat",
                             "${Package} ${Version}\\n"], capture_output=True, text=True, check=True)
    versions = dict(line.split() for line in status.stdout.splitlines())
    return {"packages": {name: versions[name] for name in workload.packages}, "packages_in_all": len(versions),
            "compressed_bytes": images.layer_sizes(layout)}


def build(cache):
    """Makes what is missing in the cache; returns the descriptions by name."""
    (cache / "images").mkdir(parents=True, exist_ok=True)
    (cache / "layers").mkdir(exist_ok=True)
    for workload in WORKLOADS:
        layout = cache / "images" / workload.name
        if not layout.exists():
            folders = layer_folders(workload, cache)
            write_layout(workload, folders, layout)
            (cache / f"images/{workload.name}.json").write_text(json.dumps(describe(workload, folders, layout)))
    missing = [name for name in (workload.name for workload in WORKLOADS)
               if not (cache / f"images/{name}-estargz").exists()]
    if missing:
        scratch = Scratch(purpose="lazypull-study")
        containerd = Containerd(scratch / "containerd")
        for name in missing:
            print(f"{name}: as eStargz", flush=True)
            write_estargz(containerd, scratch, cache / "images" / name, cache / f"images/{name}-estargz")
        containerd.stop()
    return {workload.name: json.loads((cache / f"images/{workload.name}.json").read_text())
            for workload in WORKLOADS}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=pathlib.Path, default=REPOSITORY / "build/study")
    require_root()
    arguments = parser.parse_args()
    for name, description in build(arguments.cache.resolve()).items():
        sizes = " + ".join(f"{size / 1e6:.1f}" for size in description["compressed_bytes"])
        versions = ", ".join(f"{package} {version}" for package, version in description["packages"].items())
        print(f"{name:<9} {sizes} MB  {versions}, {description['packages_in_all']} packages")


if __name__ == "__main__":
    main()
