"""From what was asked for to a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

from learnae import kernels
from learnae.bench import bandwidth
from learnae.bench.cases import KERNELS, Kernel
from learnae.bench.groups import Bench, groups_of, measure_group
from learnae.bench.machine import Machine, describe_machine
from learnae.bench.report import Report, Row
from learnae.bench.rivals import ALWAYS, installed
from learnae.bench.streams import Streams
from learnae.bench.timing import WARM_S, Budget

__all__ = ["Choice", "default_sizes", "run"]

# Seconds for everything, preparation included, which the groups share; where the minimum of rounds
# needs more, it takes more. The last is added for rivals that not every installation has.
_DEFAULT_S = 80.0
_QUICK_S = 9.0
_RIVALS_S = 80.0


@dataclass(frozen=True)
class Choice:
    """What is measured; where a tuple is empty, what is usual."""

    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    isas: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    quick: bool = False
    rivals: bool = False


def default_sizes(machine: Machine, quick: bool) -> list[int]:
    """Return element counts whose eight float32 models lie in L2, in L3 and in DRAM."""
    model = 4 * 8
    in_l2 = machine.l2_nbytes // 2 // model // 256 * 256
    in_l3 = min(100_000, machine.l3_nbytes // 2 // model)
    in_dram = 2 * machine.l3_nbytes // model if quick else 10_000_000
    fits = machine.memory_nbytes // 8 // model
    return sorted({in_l2, max(in_l3, in_l2), min(max(in_dram, in_l3), fits)})


def kernels_named(names: tuple[str, ...]) -> list[Kernel]:
    """Return the kernels of these names; all for none."""
    known = {kernel.name for kernel in KERNELS}
    for name in names:
        if name not in known:
            raise ValueError(f"no kernel {name!r}: one of {', '.join(sorted(known))}")
    return [kernel for kernel in KERNELS if not names or kernel.name in names]


def run(choice: Choice, progress: Callable[[str], object]) -> Report:
    """Measure what was chosen; tell `progress` what comes next."""
    until = perf_counter() + (_QUICK_S if choice.quick else _DEFAULT_S)
    if choice.rivals:
        until += _RIVALS_S
    machine = describe_machine()
    threads = choice.threads or tuple(sorted({1, machine.cores}))
    sizes = choice.sizes or tuple(default_sizes(machine, choice.quick))
    # The largest first: of what these leave, the small ones get many rounds all the same.
    groups = groups_of(kernels_named(choice.names), sorted(sizes, reverse=True), choice.counts)
    streams = Streams(bandwidth.dram_nbytes(machine), max(threads), machine.register_nbytes)
    bench = Bench(
        *(machine, streams, choice.isas or (kernels.isa(),), threads),
        installed() if choice.rivals else ALWAYS,
        _budget(choice, until, len(groups) + 1),
    )
    rows: list[Row] = []
    try:
        memory = bandwidth.measure_bandwidth(machine, streams, threads, bench.budget)
        for i, group in enumerate(groups):
            progress(f"{i + 1}/{len(groups)} {group.family}, n={group.n:,}, k={group.k}")
            budget = _budget(choice, until, len(groups) - i)
            rows += measure_group(replace(bench, budget=budget), group)
    finally:
        streams.close()
        kernels.set_isa(None)
        kernels.set_threads(1)
    return Report(machine, memory, sorted(rows, key=lambda row: row.n))


def _budget(choice: Choice, until: float, n_shares: int) -> Budget:
    """Return an equal share of the time that is left."""
    seconds = (until - perf_counter()) / n_shares
    if choice.quick:
        return Budget(seconds, min_rounds=1, slow_s=WARM_S)
    return Budget(seconds)
