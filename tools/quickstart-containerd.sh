#!/usr/bin/env bash
# Shows a pull into containerd with overlayfs and one with the stargz snapshotter, through private copies of the real
# peers: installs what is needed, builds, and makes an image on the spot. Needs root on Debian 12.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export BUILD="${BUILD:-build/release}"
tools/deps.sh test
cmake --preset release -B "$BUILD" >/dev/null
cmake --build "$BUILD" --target lazypull_cli lazypull_go_peers -j "$(nproc)"
exec python3 tools/quickstart_containerd.py
