#!/usr/bin/env bash
# Installs what the tests need, builds, and runs every check: formatting, unit and integration tests of the
# optimised build, the unit tests under ASan+UBSan and under TSan, the fuzzers, and clang-tidy. Needs root on Debian 12.
# `tools/test.sh quick` leaves out the sanitizers, the fuzzers and clang-tidy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mode="${1:-all}"
case "$mode" in all | quick) ;; *) echo "usage: $0 [all|quick]" >&2; exit 2 ;; esac

# A clone in another folder finds what was compiled in this one.
export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1

step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step 'packages'
tools/deps.sh test

step 'formatting'
git ls-files -z '*.cpp' '*.hpp' | xargs -0 clang-format-19 --style=file --dry-run --Werror

# Parallel compilers of the heaviest files need about 1.5 GB each.
jobs=$(nproc)

step 'build'
cmake --preset release >/dev/null
cmake --build --preset release -j "$jobs" -- --quiet

if [ "$mode" = all ]; then
  for sanitizer in asan tsan; do
    step "unit tests under $sanitizer"
    cmake --preset "$sanitizer" >/dev/null
    cmake --build --preset "$sanitizer" --target unit_tests -j "$jobs" -- --quiet
    ctest --preset "$sanitizer" -j "$jobs" --progress
  done
  # Each for a few seconds from its seeds; the unit tests have replayed what was ever found.
  step 'fuzzers'
  tests/fuzz/run.sh 10
  step 'clang-tidy'
  # Only what the sources themselves are compiled from; generated code and tests are not ours to lint here.
  git ls-files 'engine/*.cpp' 'transport/*.cpp' 'snapshot/*.cpp' 'tools/*.cpp' |
    grep -v '/asio' | xargs -n 4 -P "$jobs" tools/tidy.sh
fi

# Last, so that the closing lines are those of all unit and integration tests.
step 'tests'
ctest --preset release -j "$jobs" --progress
step 'done'
