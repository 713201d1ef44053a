#!/usr/bin/env bash
# Shows a pull without a daemon: builds, makes an image of this machine's own files, serves it with `lazypull registry
# serve`, pulls it into an embedded store and shows what is in there. Needs Debian 12, and root only to install packages
# that are missing. All but the build is in a temporary folder, which is removed at the end.
#
#   BUILD=folder  where to build, or where a build is (build/release)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build="${BUILD:-build/release}"

install_packages() {
  if [ "$(id -u)" = 0 ]; then
    tools/deps.sh build
  elif ! tools/deps.sh build >/dev/null 2>&1; then
    sudo tools/deps.sh build
  fi
}

# Someone who may not write to the build folder takes the program that is there.
build_program() {
  if [ -x "$build/tools/lazypull" ] && [ ! -w "$build" ]; then return; fi
  install_packages
  local tests=()
  [ -e "$build/CMakeCache.txt" ] || tests=(-DLAZYPULL_BUILD_TESTS=OFF)
  cmake --preset release -B "$build" "${tests[@]}" >/dev/null
  cmake --build "$build" --target lazypull_cli -j "$(nproc)"
}

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

# Puts a file under the name of its digest; prints its descriptor.
add_blob() { # FILE MEDIA-TYPE
  local name size
  name=$(digest "$1")
  size=$(stat --format=%s "$1")
  mv "$1" "$layout/blobs/sha256/$name"
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$2" "$name" "$size"
}

# Makes a layer of the archive on standard input.
add_layer() {
  cat >"$work/layer.tar"
  diff_ids+=("\"sha256:$(digest "$work/layer.tar")\"")
  gzip --fast --no-name "$work/layer.tar"
  layers+=("$(add_blob "$work/layer.tar.gz" application/vnd.oci.image.layer.v1.tar+gzip)")
}

# A layer of so many files of this machine.
add_own_files() { # FOLDER COUNT
  local list="$work/list"
  find "$1" -xdev -type f -readable -size -2M -print0 2>/dev/null | sort -z >"$list.all" || true
  head --zero-terminated --lines="$2" "$list.all" >"$list"
  add_layer < <(tar --create --directory=/ --null --files-from="$list" --absolute-names --transform='s,^/,,' \
    --owner=0 --group=0 --mode=u+rw --warning=none)
}

join() { local IFS=,; printf '%s' "$*"; }

make_image() {
  layout="$work/demo"
  layers=() diff_ids=()
  mkdir -p "$layout/blobs/sha256" "$work/greeting/etc"
  echo 'hello from the image' >"$work/greeting/etc/greeting"
  add_own_files /usr/bin 400
  add_own_files /usr/lib 2000
  add_own_files /usr/share 5000
  add_layer < <(tar --create --directory="$work/greeting" --owner=0 --group=0 etc)
  local os='"architecture":"amd64","os":"linux"' config manifest
  [ "$(uname -m)" = aarch64 ] && os='"architecture":"arm64","os":"linux"'
  printf '{%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' "$os" "$(join "${diff_ids[@]}")" >"$work/config"
  config=$(add_blob "$work/config" application/vnd.oci.image.config.v1+json)
  printf '{"schemaVersion":2,"config":%s,"layers":[%s]}' "$config" "$(join "${layers[@]}")" >"$work/manifest"
  manifest=$(add_blob "$work/manifest" application/vnd.oci.image.manifest.v1+json)
  printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"org.opencontainers.image.ref.name":"1"}}]}' \
    "${manifest%\}}" >"$layout/index.json"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
}

start_registry() {
  "$build/tools/lazypull" registry serve "$layout" --access-log "$work/access.log" >"$work/listening" &
  registry=$!
  until [ -s "$work/listening" ]; do
    kill -0 "$registry" || exit 1
    sleep 0.05
  done
  host=$(sed 's,^listening on http://,,' "$work/listening")
}

clean_up() {
  [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
  [ ! -d "$work/tree" ] || "$build/tools/lazypull" --store "$work/store" unmount "$work/tree" >/dev/null 2>&1 || true
  chmod -R u+w "$work" 2>/dev/null || true
  rm -rf "$work"
}

show() {
  printf '\n$ lazypull --store STORE %s\n' "${*//$work/WORK}"
  "$build/tools/lazypull" --store "$work/store" "$@"
}

registry=''
build_program
work=$(mktemp -d -t lazypull-quickstart.XXXXXX)
trap clean_up EXIT
echo 'making an image of this machine'\''s own files ...'
make_image
start_registry
show pull "$host/demo:1"
show pull "$host/demo:1"
show images ls
show content ls
show mount "$host/demo:1" "$work/tree"
printf '\n$ ls WORK/tree; cat WORK/tree/etc/greeting\n'
ls "$work/tree"
cat "$work/tree/etc/greeting"
show unmount "$work/tree"
printf '\nrequests that the registry answered, all but the last by the first pull:\n'
sed -E 's/.*"((GET|HEAD) [^ ]+) HTTP[^"]*" ([0-9]+) ([0-9]+) .*/  \3  \1  \4 bytes/' "$work/access.log"
