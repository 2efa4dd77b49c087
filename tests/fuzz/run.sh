#!/bin/sh
# Fuzz the payload readers, SECONDS each (default 20): sh tests/fuzz/run.sh [SECONDS]
# Fails on a crash, a leak, an input slower than 5 s, or more than 1 GiB of memory. The corpus
# starts from the golden payloads; CORPUS=folder keeps what is found, RUNS=n limits executions.
set -eu
seconds=${1:-20}
root=$(cd "$(dirname "$0")/../.." && pwd)
cc=${CC:-$(command -v clang || command -v clang-16 || true)}
[ -n "$cc" ] || { echo "tests/fuzz/run.sh: needs clang (libFuzzer)" >&2; exit 3; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
corpus=${CORPUS:-$out/corpus}
mkdir -p "$corpus"
# The kernels branch on nothing but lengths: coverage there would only cost speed.
flags="-g -O2 -fno-omit-frame-pointer -fno-sanitize-recover=all -I$root/core/include"
mkdir "$out/kernels"
# shellcheck disable=SC2086 # the flags are words
(cd "$out/kernels" && "$cc" $flags -fsanitize=address,undefined -c "$root"/core/src/isa/*.c)
mkdir "$out/golden"
cp "$root"/tests/vectors/*.payload "$out/golden"
# TARGET, golden inputs or nothing, largest input.
fuzz() {
    mkdir -p "$corpus/$1"
    # shellcheck disable=SC2086
    "$cc" $flags -fsanitize=fuzzer,address,undefined "$root/tests/fuzz/fuzz_$1.c" \
        "$root"/core/src/*.c "$out"/kernels/*.o -o "$out/fuzz_$1"
    # shellcheck disable=SC2086 # no folder where there is none
    "$out/fuzz_$1" -max_total_time="$seconds" -runs="${RUNS:--1}" -max_len="$3" -timeout=5 \
        -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 -artifact_prefix="./" \
        "$corpus/$1" $2
}
fuzz payload "$out/golden" 2048
fuzz difference "" 4096
fuzz packed "" 4096
