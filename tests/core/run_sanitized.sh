#!/bin/sh
# The C tests under AddressSanitizer and UndefinedBehaviorSanitizer, and where valgrind is
# installed under it too (uninitialised reads). Needs clang, or CC naming a compiler with both.
set -eu
here=$(dirname "$0")
cc=${CC:-$(command -v clang || command -v clang-16 || echo cc)}
sh "$here/run.sh" "$cc" -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
    -fno-sanitize-recover=all
if command -v valgrind >/dev/null; then
    RUN="valgrind -q --error-exitcode=1" sh "$here/run.sh" cc -g -O1
fi
