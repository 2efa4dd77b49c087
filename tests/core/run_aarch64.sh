#!/bin/sh
# Cross-compile the C tests for 64-bit ARM and run them in QEMU: the NEON row on any machine.
# Needs gcc-aarch64-linux-gnu and qemu-user-static, or CROSS_CC and QEMU naming others.
set -eu
cc=${CROSS_CC:-aarch64-linux-gnu-gcc}
qemu=${QEMU:-qemu-aarch64-static}
for tool in "$cc" "$qemu"; do
    command -v "$tool" >/dev/null || { echo "run_aarch64.sh: $tool is not installed" >&2; exit 3; }
done
RUN=$qemu sh "$(dirname "$0")/run.sh" "$cc" -O2 -static "$@"
