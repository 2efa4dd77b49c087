"""Check the kernels against what they are meant to reach, each beside its rivals.

    make rivals && .venv-rivals/bin/python bench/check_kernels.py
    .venv-rivals/bin/python bench/check_kernels.py --bar 1 --bar 3

Every figure of one line comes from rounds in which all sides were called in turns. Prints what
was asked for, what was reached and a verdict; the exit code is 1 where a line fails or could not be
measured. Bar 1 needs 21 GB of free memory and some minutes. Run it on a machine with nothing else
to do; where that cannot be had, --fastest compares each call's fastest round instead of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console

import learnae
from learnae import kernels
from learnae.bench import bandwidth
from learnae.bench.cases import KERNELS, Inputs
from learnae.bench.cases.entry import SCHEMA
from learnae.bench.groups import Bench, Group, measure_group
from learnae.bench.machine import describe_machine
from learnae.bench.report import Row
from learnae.bench.rivals import installed, missing
from learnae.bench.streams import Streams
from learnae.bench.table import describe
from learnae.bench.timing import Budget, Call, fastest, interleave, ratio

MODELS = (4, 8, 16, 32)
BY_NAME = {kernel.name: kernel for kernel in KERNELS}


@dataclass(frozen=True)
class Line:
    """One figure and what it must be: at least `bound`, or at most where `most` is set."""

    bar: int
    what: str
    figure: float | None  # None: it could not be measured
    bound: float
    most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the figure is what it must be."""
        if self.figure is None:
            return False
        return self.figure <= self.bound if self.most else self.figure >= self.bound

    def __str__(self) -> str:
        found = "not measured" if self.figure is None else f"{self.figure:.3g}"
        sign = "<=" if self.most else ">="
        verdict = "pass" if self.passed else "FAIL"
        return f"bar {self.bar}  {verdict}  {found:>12} {sign} {self.bound:<6g} {self.what}"


def rows(bench: Bench, n: int, k: int, *names: str, codecs: tuple[str, ...] = ()) -> list[Row]:
    """Measure kernels at one size, all in the same rounds."""
    chosen = [BY_NAME[name] for name in names]
    if codecs:
        chosen = [replace(c, codecs=tuple(x for x in c.codecs if x in codecs)) for c in chosen]
    return measure_group(bench, Group("bars", tuple(chosen), n, k))


def only(bench: Bench, names: Collection[str]) -> Bench:
    """Leave out all other rivals: each may hold all models once more."""
    return replace(bench, rivals=tuple(r for r in bench.rivals if r.name in names))


def one(found: Iterable[Row], kernel: str, codec: str, threads: int) -> Row:
    """Return the row of one call."""
    (row,) = (r for r in found if (r.kernel, r.codec, r.threads) == (kernel, codec, threads))
    return row


def against(bar: int, row: Row, bounds: dict[str, float]) -> Iterator[Line]:
    """Compare a row's rivals with the factors that they are to be beaten by."""
    for name, bound in bounds.items():
        what = f"{row.kernel} {row.codec} n={row.n:,} k={row.k}: times {name}"
        yield Line(bar, f"{what}, {row.threads} threads", row.rivals.get(name), bound)


def floor(bar: int, row: Row, bound: float) -> Line:
    """Compare a row with its floor."""
    what = f"{row.kernel} {row.codec} n={row.n:,} k={row.k}: of the floor"
    return Line(bar, f"{what}, {row.threads} threads", row.floor_fraction, bound)


def bar_1(bench: Bench) -> Iterator[Line]:
    """Check the mean of float32 models from memory."""
    in_place = {"jax": 0.95, "torch": 1.3, "numpy": 3.0}
    for n in (10_000_000, 50_000_000):
        for k in MODELS:
            found = rows(only(bench, in_place), n, k, "average")
            many = one(found, "average", "f32", bench.threads[-1])
            yield floor(1, many, 0.90)
            yield floor(1, one(found, "average", "f32", 1), 0.80)
            yield from against(1, many, in_place)
            for pages in ("huge", "small"):
                yield against_flower(1, bench, n, k, 15.0, pages)
    for threads in bench.threads:
        what = f"average f32 n=10,000,000 k=8: numba's speed by C's, {threads} threads"
        yield Line(1, what, numba_by_c(bench, 10_000_000, 8, threads), 0.7)


def against_flower(bar: int, bench: Bench, n: int, k: int, bound: float, pages: str) -> Line:
    """Compare the mean with Flower's in a process of its own, with huge pages or small ones.

    Flower allocates: what it takes depends on what else the process has freed.
    """
    what = f"average f32 n={n:,} k={k}: times flower, {bench.threads[-1]} threads, {pages} pages"
    if "flower" not in {rival.name for rival in bench.rivals}:
        return Line(bar, what, None, bound)
    script = Path(__file__).with_name("flower_ratio.py")
    options = {"n": n, "k": k, "threads": bench.threads[-1], "seconds": bench.budget.seconds / 4}
    command = [sys.executable, script, *(f"--{name}={x}" for name, x in options.items())]
    command += ["--fastest"] if bench.fastest else []
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "1" if pages == "huge" else "0"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    found = json.loads(done.stdout)["ratio"] if done.returncode == 0 else None
    return Line(bar, what, found, bound)


def numba_by_c(bench: Bench, n: int, k: int, threads: int) -> float | None:
    """Return the speed of the numba backend as a part of the compiled core's."""
    if not find_spec("numba"):
        return None
    from learnae.kernels import _c, _numba

    inputs = Inputs.sample(n, k)
    calls = {}
    for name, backend in (("c", _c), ("numba", _numba)):
        plan = backend.average_plan([inputs.models[0]], [[model] for model in inputs.models])
        backend.set_threads(threads)
        calls[name] = Call(partial(plan, np.array(inputs.weights, np.float32)))
    samples = measure(bench, calls)
    return ratio(samples["c"], samples["numba"])


def bar_2(bench: Bench) -> Iterator[Line]:
    """Check the mean of float32 models in the cache.

    A call is hardly longer here than waking a thread is, so two threads are held against the
    floor of one.
    """
    n = 100_000
    for k in MODELS:
        found = rows(only(bench, ["torch"]), n, k, "average")
        many, single = (one(found, "average", "f32", t) for t in (bench.threads[-1], 1))
        reached = single.floor_fraction * single.seconds / many.seconds
        yield Line(2, f"average f32 n={n:,} k={k}: of the floor of one thread", reached, 1.0)
        yield from against(2, many, {"torch": 1.9})
        yield against_flower(2, bench, n, k, 10.0, "small")
    for k in MODELS:
        what = f"average f32 n={n:,} k={k}: time by one thread's, all other cores busy"
        yield Line(2, what, beside_busy_cores(bench, n, k), 1.15, most=True)


def beside_busy_cores(bench: Bench, n: int, k: int) -> float:
    """Return the time with all threads by the time with one, while other cores are kept busy."""
    inputs = Inputs.sample(n, k)

    def run() -> None:
        kernels.average(inputs.models[0], inputs.models, inputs.weights)

    def threads(count: int) -> Call:
        return Call(run, lambda: kernels.set_threads(count))

    spin = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spin) for _ in range(bench.machine.cores - 1)]
    try:
        calls = {count: threads(count) for count in (1, bench.threads[-1])}
        samples = interleave(calls, replace(bench.budget, max_rounds=200))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    return ratio(samples[bench.threads[-1]], samples[1])


def measure(bench: Bench, calls: Mapping[str, Call]) -> dict[str, list[float | None]]:
    """Measure calls in turns."""
    samples = interleave(calls, bench.budget)
    return fastest(samples) if bench.fastest else samples


def bar_3(bench: Bench) -> Iterator[Line]:
    """Check merging straight from payloads."""
    found = rows(bench, 10_000_000, 8, "average", "payload_average")
    for threads in bench.threads:
        plain = one(found, "average", "f32", threads)
        for codec, bound in (("i8", 2.2), ("bf16", 1.6)):
            row = one(found, "payload_average", codec, threads)
            what = f"payload_average {codec}: times averaging float32, {threads} threads"
            yield Line(3, what, plain.seconds / row.seconds, bound)
        for row in found:
            if row.kernel == "payload_average" and row.threads == threads:
                yield floor(3, row, 0.6 if row.codec == "i4" else 0.75)
        i8 = one(found, "payload_average", "i8", threads)
        yield from against(3, i8, {"torch": 5.0, "hivemind": 45.0})


def bar_4(bench: Bench) -> Iterator[Line]:
    """Check the robust rules, and that distances keep their digits."""
    for k in (5, 9, 16):
        found = rows(bench, 5_000_000, k, "median", "trimmed_mean")
        for name in ("median", "trimmed_mean"):
            row = one(found, name, "f32", bench.threads[-1])
            yield floor(4, row, 0.85)
            yield from against(4, row, dict.fromkeys(("numpy", "torch", "flower"), 50.0))
        found = rows(bench, 5_000_000, k, "distances")
        row = one(found, "distances", "f32", bench.threads[-1])
        yield from against(4, row, {"numpy": 3.5})
    yield Line(4, "distances of close models: relative error", distance_error(), 1e-9, most=True)


def distance_error() -> float:
    """Return the largest relative error of distances between models that are close together."""
    inputs = Inputs.sample(1_000_003, 1)
    steps = (np.roll(inputs.later - inputs.models[0], 1000 * i) for i in range(6))
    models = [inputs.models[0] + step for step in steps]
    found = kernels.distances(models)
    worst = 0.0
    for i, a in enumerate(models):
        for j, b in enumerate(models[:i]):
            difference = a.astype(np.longdouble) - b.astype(np.longdouble)
            exact = np.sum(difference * difference)
            worst = max(worst, float(abs(found[i, j] - exact) / exact))
    return worst


def bar_5(bench: Bench) -> Iterator[Line]:
    """Check the lossless difference of a network's checkpoints, by the CPU's time of one thread."""
    bounds = {"12 steps": 1.15, "an epoch": 1.03}
    if not find_spec("blosc2"):
        yield from (Line(5, f"delta, {name} apart", None, bounds[name]) for name in bounds)
        return
    from delta_ratio import checkpoints, compare

    kernels.set_threads(1)
    found = checkpoints([1024, 1024, 512], 600)
    for name, bound in bounds.items():
        row = compare(found["first"], found[name])
        smaller = row["ratio"] / row["ratio_blosc2"]
        yield Line(5, f"delta, {name} apart: blosc2's bytes by ours", smaller, bound)
        for verb in ("encode", "decode"):
            times = row[verb] / row[f"{verb}_blosc2"]
            yield Line(5, f"delta, {name} apart: {verb}, times blosc2", times, 1.0)


LEAVES = 100
NBYTES = 90_000_000


def bar_6(bench: Bench) -> Iterator[Line]:
    """Check one payload of 90 MB in 100 leaves, written and verified."""
    from learnae.payload import Schema, flatten, flatten_leaves

    n = NBYTES // 4 // LEAVES
    leaves = {f"layer{i:02}": model for i, model in enumerate(Inputs.sample(n, LEAVES).models)}
    schema = Schema.of(leaves)
    vector = np.zeros(schema.n_elements, np.float32)
    payload = np.zeros(kernels.payload_bound("f32", 1, schema.n_elements), np.uint8).data

    def write() -> None:
        kernels.payload_write("f32", SCHEMA, [flatten_leaves(schema, leaves)], out=payload)

    calls = {
        "write": Call(write, lambda: kernels.set_threads(bench.threads[-1]), every_round=True),
        "copy": Call(lambda: flatten(schema, leaves, vector), every_round=True),
        "safetensors": Call(_saver(leaves), every_round=True),
    }
    samples = measure(bench, calls)
    threads = f"{bench.threads[-1]} threads"
    what = f"payload_write of 90 MB in {LEAVES} leaves, {threads}: times"
    yield Line(
        6,
        f"{what} a plain copy in memory that is there",
        ratio(samples["copy"], samples["write"]),
        0.75,
    )
    what += " safetensors, which allocates; ours into a kept buffer"
    yield Line(6, what, ratio(samples["safetensors"], samples["write"]), 9.0)
    found = rows(bench, NBYTES // 4, 1, "payload_verify", codecs=("f32",))
    yield floor(6, one(found, "payload_verify", "f32", bench.threads[-1]), 0.9)


def _saver(leaves: dict[str, np.ndarray]) -> Callable[[], object]:
    from safetensors.numpy import save

    return lambda: save(leaves)


BARS: dict[int, Callable[[Bench], Iterator[Line]]] = {
    **{1: bar_1, 2: bar_2, 3: bar_3},
    **{4: bar_4, 5: bar_5, 6: bar_6},
}


def main() -> int:
    """Measure, print, and say by the exit code whether all is reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bar", type=int, action="append", choices=sorted(BARS))
    parser.add_argument("--seconds", type=float, default=20.0, help="a group of calls  [20]")
    parser.add_argument("--fastest", action="store_true", help="for a machine that is busy")
    parser.add_argument("--json", type=Path, help="also write machine and lines to this file")
    args = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    machine = describe_machine()
    console.print(describe(machine))
    if missing():
        console.print(f"not installed: {', '.join(missing())}; what needs them fails (make rivals)")
    threads = (1, max(2, machine.cores))
    nbytes = bandwidth.dram_nbytes(machine)
    streams = Streams(nbytes, threads[-1], machine.register_nbytes)
    budget = Budget(args.seconds, min_rounds=7, max_rounds=50, slow_rounds=3)
    isas = (kernels.isas()[0],)
    bench = Bench(machine, streams, isas, threads, installed(), budget, args.fastest)
    lines = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what rivals say about themselves
        for bar in args.bar or sorted(BARS):
            for line in BARS[bar](bench):
                console.print(str(line))
                lines.append(line)
    failed = [line for line in lines if not line.passed]
    console.print(f"{len(lines) - len(failed)} of {len(lines)} reached")
    if args.json:
        found = [{**asdict(line), "passed": line.passed} for line in lines]
        document = {"machine": machine.as_json(), "learnae": learnae.__version__, "lines": found}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
