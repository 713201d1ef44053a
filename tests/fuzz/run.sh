#!/usr/bin/env bash
# Builds the fuzzers (preset fuzz) and runs each for so many seconds, starting from its seeds and past findings.
# What one finds is written to build/fuzz/findings/NAME, shown, and makes this fail; once it is fixed, the file
# goes to tests/fuzz/findings/NAME, which the unit tests replay. `run.sh SECONDS [NAME…]`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds="${1:?usage: run.sh SECONDS [NAME...]}"
shift
build="${LAZYPULL_FUZZ_BUILD:-build/fuzz}"
if [ -z "${LAZYPULL_FUZZ_BUILD:-}" ]; then
  cmake --preset fuzz >/dev/null
  cmake --build --preset fuzz -j "$(nproc)" -- --quiet
fi
data=tests/fuzz
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for source in "$data"/*_fuzz.cpp; do names+=("$(basename "$source" _fuzz.cpp)"); done
fi
export ASAN_OPTIONS="external_symbolizer_path=/usr/bin/llvm-symbolizer-19" UBSAN_OPTIONS="print_stacktrace=1"

fuzz() {
  local name="$1" grown="$build/corpus/$1" found="$build/findings/$1" log="$build/$1.log"
  mkdir -p "$grown" "$found"
  local folders=("$grown" "$data/corpus/$name")
  if [ -d "$data/findings/$name" ]; then folders+=("$data/findings/$name"); fi
  local options=(-max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
                 -artifact_prefix="$found/")
  if [ -e "$data/$name.dict" ]; then options+=(-dict="$data/$name.dict"); fi
  if ! "$build/tests/fuzz/fuzz_$name" "${options[@]}" "${folders[@]}" >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "$name: failed; the input is in $found" >&2
    return 1
  fi
  echo "$name: $(awk '/number_of_executed_units/ { print $2 }' "$log") inputs"
}
export -f fuzz
export build data seconds

# One a processor: nothing is shared but the build.
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I NAME bash -euo pipefail -c 'fuzz NAME'
