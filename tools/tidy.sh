#!/usr/bin/env bash
# Runs clang-tidy over files that have been built below build/release: `$0 FILE…`. What passed once is not looked at again
# until it, a header of ours that it includes, the configuration, a .proto file or a package that it is built with changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Beside the compiler's cache, so that both are kept, or not, together.
stamps="$(ccache -k cache_dir)/clang-tidy"
mkdir -p "$stamps"
around=$({
  cat .clang-tidy $(git ls-files proto)
  tools/deps.sh build versions
  dpkg-query --show clang-tidy-19 libstdc++-12-dev
} | sha256sum)

# The source and the headers below this folder, as the compiler has written them down.
inputs_of() {
  local object
  object=$(jq -r --arg file "$PWD/$1" '.[] | select(.file == $file) | .command | capture(" -o (?<object>[^ ]+)").object' \
    build/release/compile_commands.json)
  ninja -C build/release -t deps "$object" | sed -nE "s#^ +(\.\./\.\./|$PWD/)##p" | sort -u
}

failed=0
for file in "$@"; do
  inputs=$(inputs_of "$file")
  if [ -z "$inputs" ]; then
    echo "$file: is not built below build/release" >&2
    exit 2
  fi
  # shellcheck disable=SC2086 # names of ours have no spaces
  stamp="$stamps/$({ echo "$around" "$file"; sha256sum $inputs; } | sha256sum | cut -c1-40)"
  if [ -e "$stamp" ]; then continue; fi
  if clang-tidy-19 --quiet -p build/release "$file" 2>/dev/null; then : >"$stamp"; else failed=1; fi
done
exit "$failed"
