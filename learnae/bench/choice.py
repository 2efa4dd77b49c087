"""From what was asked for to a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from learnae import kernels
from learnae.bench import bandwidth
from learnae.bench.cases import KERNELS, Kernel
from learnae.bench.groups import Bench, groups_of, measure_group
from learnae.bench.machine import Machine, describe_machine
from learnae.bench.report import Report, Row
from learnae.bench.rivals import ALWAYS, installed
from learnae.bench.streams import Streams
from learnae.bench.timing import Budget

__all__ = ["Choice", "default_sizes", "run"]

# Seconds for all groups together; what the rounds' minimum takes comes on top.
_DEFAULT_S = 70.0
_QUICK_S = 6.0


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
    in_dram = 4 * machine.l3_nbytes // model if quick else 10_000_000
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
    machine = describe_machine()
    threads = choice.threads or tuple(sorted({1, machine.cores}))
    sizes = choice.sizes or tuple(default_sizes(machine, choice.quick))
    groups = groups_of(kernels_named(choice.names), sizes, choice.counts)
    seconds = (_QUICK_S if choice.quick else _DEFAULT_S) / max(1, len(groups))
    budget = Budget(seconds, min_rounds=1 if choice.quick else 3)
    streams = Streams(bandwidth.dram_nbytes(machine), max(threads), machine.register_nbytes)
    bench = Bench(
        *(machine, streams, choice.isas or (kernels.isa(),), threads),
        installed() if choice.rivals else ALWAYS,
        budget,
    )
    rows: list[Row] = []
    try:
        memory = bandwidth.measure_bandwidth(machine, streams, threads, budget)
        for i, group in enumerate(groups, 1):
            progress(f"{i}/{len(groups)} {group.family}, n={group.n:,}, k={group.k}")
            rows += measure_group(bench, group)
    finally:
        streams.close()
        kernels.set_isa(None)
        kernels.set_threads(1)
    return Report(machine, memory, rows)
