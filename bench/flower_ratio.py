"""The mean of float32 models beside Flower's, in a process that does nothing else.

    .venv-rivals/bin/python bench/flower_ratio.py --n 10000000 --k 8
    NUMPY_MADVISE_HUGEPAGE=0 .venv-rivals/bin/python bench/flower_ratio.py --n 10000000 --k 8

Flower's function returns new arrays and makes others on the way, so a good part of its time goes
into getting memory from the system. How long that takes is not its own doing: a process that has
freed large blocks before keeps them, and then has nothing to wait for with small models; and from
4 MiB on NumPy asks for huge pages, which Linux fills several times faster than small ones, where it
has them. Here little was freed before, and the second command measures with small pages. Prints one
JSON object; `ratio` is the median over rounds of Flower's time by ours.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from learnae import kernels
from learnae.bench.cases import KERNELS, Inputs
from learnae.bench.rivals.flower import FLOWER
from learnae.bench.timing import Budget, Call, fastest, interleave, median, ratio


def compare(
    n: int, k: int, threads: int, budget: Budget, take_fastest: bool = False
) -> dict[str, float]:
    """Measure both in turns; return seconds and their ratio."""
    inputs = Inputs.sample(n, k)
    (ours,) = (kernel for kernel in KERNELS if kernel.name == "average")
    (flower,) = (rival for rival in FLOWER if rival.kernel == "average")
    kernels.set_threads(threads)
    calls = {
        "ours": Call(ours.prepare(inputs, "f32").run),
        "flower": Call(flower.prepare(inputs, "f32")),
    }
    samples = interleave(calls, budget)
    if take_fastest:
        samples = fastest(samples)
    return {
        "ours": median(samples["ours"]),
        "flower": median(samples["flower"]),
        "ratio": ratio(samples["flower"], samples["ours"]),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000_000, help="elements of a model")
    parser.add_argument("--k", type=int, default=8, help="models")
    parser.add_argument("--threads", type=int, default=max(2, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, default=5.0, help="[5]")
    parser.add_argument("--fastest", action="store_true", help="compare the fastest rounds")
    args = parser.parse_args()
    budget = Budget(args.seconds, min_rounds=7, max_rounds=50, slow_rounds=7)
    found = compare(args.n, args.k, args.threads, budget, args.fastest)
    print(json.dumps({"n": args.n, "k": args.k, "threads": args.threads, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
