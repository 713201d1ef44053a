"""Root file systems of Debian packages, layer on layer: a minimal Debian below, and what shell commands change above.

Packages come from where the machine's own apt takes those of Debian."""

import os
import shlex
import shutil
import stat
import subprocess
import tarfile
import time

from peers import run

SUITE = "bookworm"
MADE = 1_700_000_000  # the time of what is made while building; what packages bring keeps its own
BEGAN = int(time.time())
LEFT_OUT = ("etc/apt/sources.list", "etc/apt/sources.list.d", "etc/apt/apt.conf.d/00machine", "etc/resolv.conf",
            "var/lib/apt/lists", "var/cache/apt", "var/cache/ldconfig", "var/log/apt", "var/log/dpkg.log",
            "dev", "proc", "sys", "run", "tmp")
EMPTY = ("dev", "proc", "sys", "run", "tmp", "var/lib/apt/lists", "var/cache/apt")


def sources():
    """The lines of a sources.list for Debian, from the machine's apt."""
    lines = run("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                "Created-By: Packages", "Origin: Debian").splitlines()
    lines = [line for line in dict.fromkeys(lines) if line.split()[2].startswith(SUITE)]
    if not lines:
        raise SystemExit(f"apt knows no sources of Debian {SUITE}; is `apt-get update` needed?")
    return lines


def make_base(folder):
    """A minimal Debian, which like images of containers starts no services when packages are installed."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
        "--customize-hook=printf '#!/bin/sh\\nexit 101\\n' > \"$1/usr/sbin/policy-rc.d\"; "
        "chmod 755 \"$1/usr/sbin/policy-rc.d\"", SUITE, partial, *sources())
    mark(partial)
    partial.rename(folder)


def mark(folder):
    """Gives what was made by now a fixed time. Package managers keep the times of the files they bring, by which
    compiled Python is matched to its source."""
    for path in walk(folder):
        if os.lstat(path).st_mtime >= BEGAN:
            os.utime(path, (MADE, MADE), follow_symlinks=False)


def add_layer(lowers, folder, script):
    """Runs the script in a root file system of these folders, lowest first; what it changes is in `folder`."""
    partial = folder.with_name(folder.name + ".partial")
    work, root = folder.with_name(folder.name + ".work"), folder.with_name(folder.name + ".root")
    for made in (partial, work, root):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    network = "".join(line + "\n" for line in run("apt-config", "dump").splitlines() if line.startswith("Acquire::"))
    lower = ":".join(str(lower) for lower in reversed(lowers))
    options = f"lowerdir={lower},upperdir={partial},workdir={work},redirect_dir=off,metacopy=off"
    # Mounts and processes are of this shell's namespaces, and end with it.
    shell = f"""
        set -eu
        mount -t overlay overlay -o {shlex.quote(options)} {shlex.quote(str(root))}
        cd {shlex.quote(str(root))}
        printf %s {shlex.quote(network)} > etc/apt/apt.conf.d/00machine
        cp --dereference --remove-destination /etc/resolv.conf etc/resolv.conf
        mount -t proc proc proc
        mount --rbind /dev dev
        exec chroot . sh -euc {shlex.quote(script)}"""
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
             "DEBIAN_FRONTEND": "noninteractive"}
    clean.update({name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")})
    run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", shell, env=clean)
    shutil.rmtree(work)
    root.rmdir()
    mark(partial)
    partial.rename(folder)


def install(packages):
    return ("apt-get update -q; apt-get install -qy --no-install-recommends " + " ".join(packages) + "; apt-get clean")


def walk(folder):
    """All below the folder, parents first, in a fixed order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(folders + names):
            yield os.path.join(parent, name)


def is_whiteout(path):
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_left_out(name):
    return any(name == left or name.startswith(left + "/") for left in LEFT_OUT)


def archive(folder, tar):
    """Writes what overlayfs has kept of a layer as the archive of an image's layer."""
    for path in walk(folder):
        name = os.path.relpath(path, folder)
        if name in EMPTY and not os.path.islink(path):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755, MADE
            tar.addfile(entry)
        if is_left_out(name):
            continue
        if is_whiteout(path):
            entry = tarfile.TarInfo(os.path.join(os.path.dirname(name), ".wh." + os.path.basename(name)))
            entry.mtime = MADE
            tar.addfile(entry)
            continue
        entry = tar.gettarinfo(path, name)
        if entry is None:
            continue  # a socket
        entry.uname = entry.gname = ""
        entry.mtime = int(entry.mtime)
        if entry.isreg():
            with open(path, "rb") as file:
                tar.addfile(entry, file)
        else:
            tar.addfile(entry)
        if entry.isdir() and "trusted.overlay.opaque" in os.listxattr(path):
            opaque = tarfile.TarInfo(name + "/.wh..wh..opq")
            opaque.mtime = MADE
            tar.addfile(opaque)


def user_numbers(folders, user):
    """"uid:gid" by the topmost /etc/passwd."""
    for folder in reversed(folders):
        passwd = folder / "etc/passwd"
        if not passwd.exists():
            continue
        for line in passwd.read_text().splitlines():
            fields = line.split(":")
            if fields[0] == user:
                return f"{fields[2]}:{fields[3]}"
    raise SystemExit(f"there is no user {user}")

