#!/bin/sh
# Installs the Debian 12 packages that Lazypull needs: `tools/deps.sh build`, `test` (build and test) or `bench`
# (everything). Needs root, and does nothing at all if everything is there. `tools/deps.sh build versions` only tells which
# versions of them are there.
set -eu

build='
  clang-19 lld-19 cmake ninja-build ccache git pkg-config
  libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev
  libcli11-dev libfmt-dev libgrpc++-dev libisal-dev libprotobuf-dev libre2-dev libspdlog-dev libsqlite3-dev libssl-dev
  libtomlplusplus-dev libyaml-cpp-dev libzstd-dev prometheus-cpp-dev
  protobuf-compiler protobuf-compiler-grpc zlib1g-dev'

# Unit tests, checks of the code, and the real peers of the integration tests. `lazypull layers publish` runs
# erofs-utils and squashfs-tools too.
test='
  libgmock-dev libgtest-dev
  clang-format-19 clang-tidy-19 libclang-rt-19-dev llvm-19
  apache2-utils attr busybox-static chromium containerd curl docker-registry erofs-utils fuse3 golang-go grpc-proto
  golang-github-containerd-containerd-dev golang-github-containerd-stargz-snapshotter-dev
  jq kubernetes-client openssl procps python3-grpcio python3-jsonschema runc skopeo squashfs-tools stargz-snapshotter umoci zstd'

bench='
  libbenchmark-dev mmdebstrap podman python3-yaml util-linux-extra'

case "${1:-}" in
  build) wanted="$build" ;;
  test) wanted="$build $test" ;;
  bench) wanted="$build $test $bench" ;;
  *)
    echo "usage: $0 build|test|bench [versions]" >&2
    exit 2
    ;;
esac
if [ "${2:-}" = versions ]; then
  # shellcheck disable=SC2086 # the list is meant to be split
  exec dpkg-query --show $wanted
fi

missing=''
for package in $wanted; do
  # Another kubectl is as good, and packages of it exclude each other.
  if [ "$package" = kubernetes-client ] && command -v kubectl >/dev/null; then continue; fi
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  # A package for several architectures answers once for each.
  case "$status" in
    installed*) ;;
    *) missing="$missing $package" ;;
  esac
done
if [ -z "$missing" ]; then
  exit 0
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
# shellcheck disable=SC2086 # the list is meant to be split
apt-get install --quiet=2 --yes --no-install-recommends $missing
