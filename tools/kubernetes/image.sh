#!/bin/sh
# Makes an OCI image layout that has lazypull, the libraries it needs and the certificates of this machine:
#
#   tools/kubernetes/image.sh build/release/tools/lazypull /tmp/lazypull-image
#   skopeo copy oci:/tmp/lazypull-image:latest docker://registry.example.com/lazypull:0.1.0
#
# Needs umoci, and runs as anybody.
set -eu

if [ $# -ne 2 ]; then
  echo "usage: $0 BINARY LAYOUT" >&2
  exit 2
fi
binary=$1
layout=$2
work=$(mktemp --directory)
trap 'rm --recursive --force "$work"' EXIT
root=$work/root

copy() { # FILE: to its own place, and where symbolic links lead to
  mkdir --parents "$root$(dirname "$1")"
  cp --dereference "$1" "$root$1"
}

mkdir --parents "$root/usr/bin" "$root/tmp" "$root/etc"
install --mode 755 "$binary" "$root/usr/bin/lazypull"
strip "$root/usr/bin/lazypull"
# The loader is named by its path, the others behind an arrow.
ldd "$binary" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do copy "$library"; done
copy /etc/ssl/certs/ca-certificates.crt
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

umoci init --layout "$layout"
umoci new --image "$layout:latest"
umoci unpack --rootless --image "$layout:latest" "$work/bundle"
cp --archive "$root/." "$work/bundle/rootfs/"
umoci repack --image "$layout:latest" "$work/bundle"
umoci config --image "$layout:latest" --config.entrypoint lazypull --config.env PATH=/usr/bin \
  --architecture "$(dpkg --print-architecture)" --os linux
umoci gc --layout "$layout"
