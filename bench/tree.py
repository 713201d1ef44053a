"""Compares file trees."""

import hashlib
import os
import stat


def describe(path, status):
    """All of an entry that an image says, but not the times of folders: overlayfs and umoci set them differently."""
    kind = stat.S_IFMT(status.st_mode)
    owner = (oct(status.st_mode), status.st_uid, status.st_gid)
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return owner + (int(status.st_mtime), status.st_size, digest)
    if kind == stat.S_IFLNK:
        return owner + (os.readlink(path),)
    return owner + (status.st_rdev,)


def read_tree(root):
    """Every entry below the root, by its path."""
    tree = {}
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(folder, name)
            tree[os.path.relpath(path, root)] = describe(path, os.lstat(path))
    return tree


def differences(left, right):
    """Lines, one an entry that is not the same."""
    return [f"{path}: {left.get(path)} != {right.get(path)}"
            for path in sorted(left.keys() | right.keys()) if left.get(path) != right.get(path)]
