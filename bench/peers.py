"""Private copies of the real peers for benchmarks and the quick start: Debian's docker-registry and containerd,
and the stargz snapshotter that the build makes of Debian's Go library. Everything lives in one folder, which
is on tmpfs if the caller says so, and ends with the process."""

import atexit
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def run(*argv, **options):
    """Runs to the end and returns standard output; shows what it printed if it fails."""
    result = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, argv))}\nexited with {result.returncode}:\n"
                         f"{result.stdout}{result.stderr}")
    return result.stdout


def push(layout, registry, name):
    """Pushes a layout's image; returns its reference."""
    reference = f"{registry.host}/{name}"
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{reference}")
    return reference


def to_estargz(containerd, source, target):
    """Converts an image of a registry to eStargz with ctr-remote, through this containerd, and pushes it."""
    containerd.ctr("content", "fetch", "--plain-http", source)
    run("ctr-remote", "--address", containerd.socket, "images", "convert", "--estargz", "--oci", source, target)
    containerd.ctr("images", "push", "--plain-http", target)
    return target


def mounts_below(folder):
    """Mount points at or below the folder, innermost first."""
    points = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ")[4].replace("\\040", " ")
        if point == str(folder) or point.startswith(f"{folder}/"):
            points.append(point)
    return sorted(points, key=len, reverse=True)


def remove_tree(folder):
    for point in mounts_below(folder):
        subprocess.run(["umount", "--lazy", point], check=False)
    shutil.rmtree(folder, ignore_errors=True)


class Scratch:
    """A folder that is removed at the end, with all that is mounted below."""

    def __init__(self, base="/dev/shm", purpose="lazypull-bench"):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=base))
        atexit.register(remove_tree, self.path)

    def __truediv__(self, name):
        return self.path / name

    def remove(self):
        remove_tree(self.path)


class Daemon:
    def __init__(self, argv, log, ready, name):
        self.log = open(log, "ab")
        self.process = subprocess.Popen([str(a) for a in argv], stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)
        atexit.register(self.stop)
        deadline = time.monotonic() + 20
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start:\n{pathlib.Path(log).read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def answers(address):
    """True if something accepts connections: a port of loopback, or the path of a Unix socket."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(("127.0.0.1", address) if isinstance(address, int) else str(address))
            return True
        except OSError:
            return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    """Debian's docker-registry."""

    def __init__(self, scratch):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        config = scratch / f"registry-{self.port}.yml"
        config.write_text(json.dumps({
            "version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(scratch / f"registry-{self.port}")}},
            "http": {"addr": self.host}}))
        self.daemon = Daemon(["docker-registry", "serve", config], scratch / f"registry-{self.port}.log",
                             lambda: answers(self.port), "docker-registry")

    def stop(self):
        self.daemon.stop()


class EmbeddedRegistry:
    """`lazypull registry serve`."""

    def __init__(self, scratch, lazypull, layouts):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.daemon = Daemon([lazypull, "registry", "serve", "--access-log", "none", "--address", self.host, *layouts],
                             scratch / "registry.log", lambda: answers(self.port), "lazypull registry serve")

    def stop(self):
        self.daemon.stop()


class Containerd:
    def __init__(self, folder, stargz_program=None, plugins=None, cri=False):
        """`plugins`: the sockets of snapshotters that run already, by their names. `cri`: with the plugin of a kubelet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "containerd.sock"
        plugins = dict(plugins or {})
        self.stargz = None
        if stargz_program:
            address = folder / "stargz.sock"
            self.stargz = Daemon([stargz_program, "-root", folder / "stargz", "-address", address],
                                 folder / "stargz.log", lambda: answers(address), "the stargz snapshotter")
            plugins["stargz"] = address
        disabled = ["io.containerd.internal.v1.opt"] + ([] if cri else ["io.containerd.grpc.v1.cri"])
        disabled += [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
        proxies = "".join(f'[proxy_plugins.{name}]\ntype = "snapshot"\naddress = "{address}"\n'
                          for name, address in plugins.items())
        if cri:
            proxies += (f'[plugins."io.containerd.grpc.v1.cri"]\nstream_server_port = "0"\n'
                        f'[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "{folder}/cni"\n'
                        f'conf_dir = "{folder}/cni"\n')
        config = folder / "config.toml"
        config.write_text(f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
                          f'disabled_plugins = {json.dumps(disabled)}\n[grpc]\naddress = "{self.socket}"\n'
                          f'[ttrpc]\naddress = "{folder}/ttrpc.sock"\n{proxies}')
        self.daemon = Daemon(["containerd", "--config", config], folder / "containerd.log",
                             lambda: answers(self.socket), "containerd")
        self.folder = folder

    def pids(self):
        return [daemon.process.pid for daemon in (self.daemon, self.stargz) if daemon]

    def ctr(self, *arguments):
        return run("ctr", "--address", self.socket, *arguments)

    def stop(self):
        self.daemon.stop()
        if self.stargz:
            self.stargz.stop()
        remove_tree(self.folder)


def require_root():
    if os.geteuid() != 0:
        sys.exit("containerd, overlayfs and FUSE need root: run this as root")
