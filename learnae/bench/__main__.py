"""Run the benchmark: ``python -m learnae.bench``."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from learnae import kernels
from learnae.bench import bandwidth, plot, table
from learnae.bench.cases import KERNELS, Kernel
from learnae.bench.groups import Bench, groups_of, measure_group
from learnae.bench.machine import Machine, describe_machine
from learnae.bench.report import Report, Row
from learnae.bench.rivals import ALWAYS, installed, missing
from learnae.bench.streams import Streams
from learnae.bench.timing import Budget
from learnae.errors import LearnaeError

__all__: list[str] = []

# Seconds for all groups together; what the rounds' minimum takes comes on top.
_DEFAULT_S = 70.0
_QUICK_S = 6.0
_WIDTH = 170


@dataclass(frozen=True)
class Choice:
    """What the command line asks for; empty where it leaves the choice to us."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    isas: tuple[str, ...]
    threads: tuple[int, ...]
    quick: bool
    rivals: bool


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
            raise click.UsageError(f"no kernel {name!r}: one of {', '.join(sorted(known))}")
    return [kernel for kernel in KERNELS if not names or kernel.name in names]


def run(choice: Choice, progress: Console) -> Report:
    """Measure what was chosen."""
    machine = describe_machine()
    threads = choice.threads or tuple(sorted({1, machine.cores}))
    sizes = choice.sizes or tuple(default_sizes(machine, choice.quick))
    groups = groups_of(kernels_named(choice.names), sizes, choice.counts)
    seconds = (_QUICK_S if choice.quick else _DEFAULT_S) / max(1, len(groups))
    budget = Budget(seconds, min_rounds=2 if choice.quick else 3)
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
            progress.print(f"{i}/{len(groups)} {group.family}, n={group.n:,}, k={group.k}")
            rows += measure_group(bench, group)
    finally:
        streams.close()
        kernels.set_isa(None)
        kernels.set_threads(1)
    return Report(machine, memory, rows)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--kernel", "names", multiple=True, metavar="NAME", help="Only this one; repeatable.")
@click.option("--n", "sizes", multiple=True, type=click.IntRange(1), help="Elements a model.")
@click.option("--k", "counts", multiple=True, type=click.IntRange(2, 64), help="Models averaged.")
@click.option("--isa", "isas", multiple=True, help="Instruction set.  [default: the best]")
@click.option("--threads", multiple=True, type=click.IntRange(1), help="[default: 1 and all cores]")
@click.option("--rivals", is_flag=True, help="Also measure every rival that is installed.")
@click.option("--quick", is_flag=True, help="Rough figures in a quarter of a minute.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option(
    "--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png"
)
def main(
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    counts: tuple[int, ...],
    isas: tuple[str, ...],
    threads: tuple[int, ...],
    rivals: bool,
    quick: bool,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Measure every kernel beside the speed of this machine's memory, and beside rivals.

    docs/benchmarks.md says what the columns mean. Repeat --kernel, --n, --k, --isa and --threads
    to measure several.
    """
    progress = Console(stderr=True)
    choice = Choice(names, sizes, counts, isas, threads, quick, rivals)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what rivals say about themselves
            report = run(choice, progress)
    except (LearnaeError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1))
    else:
        # A pipe has no width of its own, and a figure cut off is of no use: let lines be long.
        console = Console(soft_wrap=True)
        console.width = max(console.width, _WIDTH)
        console.print(table.render(report))
    if choice.rivals and missing():
        progress.print(f"not installed, so not measured: {', '.join(missing())} (make rivals)")
    if picture is not None:
        plot.draw(report, picture)


if __name__ == "__main__":
    main(prog_name="python -m learnae.bench")
