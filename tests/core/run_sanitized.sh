#!/bin/sh
# The C tests under AddressSanitizer and UndefinedBehaviorSanitizer, then under MemorySanitizer
# (uninitialised reads), then under ThreadSanitizer (races). Needs clang, under that name or
# another in CC.
set -eu
here=$(dirname "$0")
cc=${CC:-$(command -v clang || command -v clang-16 || true)}
[ -n "$cc" ] || { echo "run_sanitized.sh: clang is not installed" >&2; exit 3; }
export TSAN_OPTIONS=die_after_fork=0 # a test asks for threads in a child made by fork()
for sanitizers in address,undefined memory thread; do
    sh "$here/run.sh" "$cc" -g -O1 -fno-omit-frame-pointer "-fsanitize=$sanitizers" \
        -fno-sanitize-recover=all
done
