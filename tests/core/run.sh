#!/bin/sh
# Build the C tests with no build system, and run them: sh tests/core/run.sh [COMPILER [FLAGS...]]
# RUN, if set, goes before each of them: RUN="valgrind -q --error-exitcode=1" sh tests/core/run.sh
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
[ $# -gt 0 ] || set -- cc -O2
mkdir "$out/objects"
(cd "$out/objects" && "$@" -c "$root"/core/src/*.c "$root"/core/src/isa/*.c)
for source in "$root"/tests/core/test_*.c; do
    name=$(basename "$source" .c)
    "$@" -I"$root/core/include" "$source" "$out"/objects/*.o -o "$out/$name" -lm
    # shellcheck disable=SC2086 # RUN is a command with its arguments
    ${RUN:-} "$out/$name" "$root/tests/vectors"
    echo "$name passed"
done
