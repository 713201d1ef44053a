"""The clients that are compared, each with empty storage of its own for every pull."""

import contextlib

from peers import Containerd, remove_tree, run


class Client:
    """One pull into a new folder."""

    daemons = ()

    def __init__(self, folder, setup):
        self.folder, self.setup = folder, setup
        folder.mkdir()

    def commands(self, reference):
        """What is timed, one after the other."""
        raise NotImplementedError

    @contextlib.contextmanager
    def tree(self, reference):
        """The image's files, or nothing if the client does not unpack."""
        yield None

    def stop(self):
        remove_tree(self.folder)


class ContainerdClient(Client):
    """Pulls into a containerd that has just been started."""

    stargz = False

    def __init__(self, folder, setup):
        super().__init__(folder, setup)
        self.containerd = Containerd(folder / "containerd", setup.stargz if self.stargz else None)
        self.daemons = self.containerd.pids()

    @contextlib.contextmanager
    def tree(self, reference):
        target = self.folder / "tree"
        target.mkdir()
        self.containerd.ctr("images", "mount", reference, target)
        yield target
        run("umount", target)

    def stop(self):
        self.containerd.stop()
        super().stop()


class Ctr(ContainerdClient):
    name = "ctr"

    def commands(self, reference):
        return [["ctr", "--address", self.containerd.socket, "images", "pull", "--plain-http", reference]]


class CtrRemote(ContainerdClient):
    name = "ctr-remote"
    stargz = True

    def commands(self, reference):
        return [["ctr-remote", "--address", self.containerd.socket, "images", "rpull", "--plain-http", reference]]


class LazypullClient(ContainerdClient):
    flags = ()

    def commands(self, reference):
        return [[self.setup.lazypull, "--address", self.containerd.socket, "pull", *self.flags, reference]]


class LazypullDirect(LazypullClient):
    name = "lazypull"
    flags = ("--unpack", "direct")


class LazypullDiffService(LazypullClient):
    name = "lazypull-diff-service"
    flags = ("--unpack", "diff-service")


class LazypullStargz(LazypullClient):
    name = "lazypull-stargz"
    flags = ("--snapshotter", "stargz")
    stargz = True


class LazypullStore(Client):
    name = "lazypull-store"

    def commands(self, reference):
        return [[self.setup.lazypull, "--store", self.folder / "store", "pull", reference]]

    @contextlib.contextmanager
    def tree(self, reference):
        target = self.folder / "tree"
        target.mkdir()
        run(self.setup.lazypull, "--store", self.folder / "store", "mount", reference, target)
        yield target
        run(self.setup.lazypull, "--store", self.folder / "store", "unmount", target)


class LazypullFetch(Client):
    name = "lazypull-fetch"

    def commands(self, reference):
        return [[self.setup.lazypull, "--store", self.folder / "store", "fetch", reference]]


class Podman(Client):
    name = "podman"

    def podman(self, *arguments):
        return ["podman", "--root", self.folder / "root", "--runroot", self.folder / "run", "--storage-driver",
                "overlay", *arguments]

    def commands(self, reference):
        return [self.podman("pull", "--quiet", "--tls-verify=false", reference)]

    @contextlib.contextmanager
    def tree(self, reference):
        yield run(*self.podman("image", "mount", reference)).strip()
        run(*self.podman("image", "unmount", reference))


class Skopeo(Client):
    name = "skopeo"

    def commands(self, reference):
        return [["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}",
                 f"oci:{self.folder}/layout:1"]]


class SkopeoUmoci(Skopeo):
    name = "skopeo-umoci"

    def commands(self, reference):
        return super().commands(reference) + [["umoci", "unpack", "--image", f"{self.folder}/layout:1",
                                               self.folder / "bundle"]]

    @contextlib.contextmanager
    def tree(self, reference):
        yield self.folder / "bundle/rootfs"


CLIENTS = {client.name: client for client in (
    Ctr, LazypullDirect, LazypullDiffService, LazypullStore, Podman, SkopeoUmoci, LazypullFetch, Skopeo, CtrRemote,
    LazypullStargz)}
