"""The report as tables that a person can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from learnae.bench.bandwidth import Bandwidth
from learnae.bench.machine import Machine
from learnae.bench.report import Report, Row
from learnae.wording import count

__all__ = ["bandwidth_table", "describe", "markdown", "render", "rows_table"]

_MIB = 2**20
_STYLE: dict[str, Any] = {"title_justify": "left", "box": SIMPLE_HEAD, "pad_edge": False}


def describe(machine: Machine) -> str:
    """Return the machine in one line."""
    return (
        f"{machine.cpu}, {count(machine.cores, 'core')}, L2 {machine.l2_nbytes / _MIB:.3g} MiB, "
        f"L3 {machine.l3_nbytes / _MIB:.3g} MiB, load {machine.load:.1f}; {machine.system}, "
        f"Python {machine.python}, NumPy {machine.numpy}, learnae {machine.learnae} "
        f"({machine.backend}: {', '.join(machine.isas)})"
    )


def render(report: Report) -> Group:
    """Return everything: the machine, its bandwidth, a table for each size."""
    parts: list[Text | Table] = [Text(describe(report.machine))]
    if report.machine.load > report.machine.cores / 4:
        parts.append(Text("This machine was busy: expect figures to be too low, ratios less so."))
    parts.append(bandwidth_table(report.bandwidth))
    for n in sorted({row.n for row in report.rows}):
        parts.append(rows_table([row for row in report.rows if row.n == n], count(n, "element")))
    versions = {k: v for row in report.rows for k, v in row.versions.items()}
    parts.append(Text(", ".join(f"{name} {version}" for name, version in sorted(versions.items()))))
    return Group(*parts)


def bandwidth_table(found: Iterable[Bandwidth]) -> Table:
    """Return the machine's own rates."""
    table = Table(title="memory, GB/s read and written", **_STYLE)
    for name in ("level", "MiB", "threads", "read", "copy", "scale in place"):
        table.add_column(name, justify="left" if name == "level" else "right")
    for b in found:
        rates = (f"{rate:.1f}" for rate in (b.read, b.copy, b.scale))
        table.add_row(b.level, f"{b.nbytes / _MIB:.3g}", str(b.threads), *rates)
    return table


_COLUMNS = ("kernel", "codec", "k", "isa", "threads", "time", "GB/s", "floor", "error", "ratio")
_WORDS = ("kernel", "codec", "isa")


def rows_table(rows: Sequence[Row], title: str) -> Table:
    """Return one table for rows of one size: a column for each rival that any of them has."""
    names = rival_names(rows)
    table = Table(title=title, **_STYLE)
    for name in (*_COLUMNS, *names):
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row), *(_times(row, name) for name in names))
    return table


def rival_names(rows: Iterable[Row]) -> list[str]:
    """Return the rivals of all rows, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in row.rivals))


def _cells(row: Row) -> tuple[str, ...]:
    error = "" if row.error is None else f"{row.error:.1e}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    return (
        *(row.kernel, row.codec, str(row.k), row.isa, str(row.threads), _duration(row.seconds)),
        *(f"{row.gb_per_s:.1f}", f"{row.floor_fraction:.0%}", error, ratio),
    )


def _times(row: Row, name: str) -> str:
    times = row.rivals.get(name)
    return "" if times is None else f"{times:.2g} x" if times < 10 else f"{times:.0f} x"


def _duration(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table, for a page."""
    names = rival_names(rows)
    header = (*_COLUMNS, *names)
    lines = [header, ("---",) * len(header)]
    lines += [(*_cells(row), *(_times(row, name) for name in names)) for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
