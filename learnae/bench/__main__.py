"""Run the benchmark: ``python -m learnae.bench``."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from learnae.bench import plot, table
from learnae.bench.choice import Choice, run
from learnae.bench.rivals import missing
from learnae.errors import LearnaeError

__all__: list[str] = []

_WIDTH = 170


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
    "--plot",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Also draw each kernel against the floor; .pdf and .svg too. Needs matplotlib.",
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
        if picture is not None:
            with _told(picture):
                plot.check(picture)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what rivals say about themselves
            report = run(choice, progress.print)
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
        with _told(picture):
            plot.draw(report, picture)


@contextlib.contextmanager
def _told(picture: Path) -> Iterator[None]:
    """Turn an error of the file system into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{picture}: {error.strerror or error}") from None


if __name__ == "__main__":
    main(prog_name="python -m learnae.bench")
