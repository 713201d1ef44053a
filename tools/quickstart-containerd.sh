#!/usr/bin/env bash
# Installs what is needed, builds, and shows a pull with overlayfs and one with the stargz snapshotter, each through
# private copies of the real peers. Needs root on Debian 12.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/deps.sh test
cmake --preset release >/dev/null
cmake --build --preset release --target lazypull_cli lazypull_go_peers -j "$(nproc)"
exec python3 tools/quickstart_containerd.py
