"""The report as a picture: how much of the floor each kernel reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from learnae.bench.report import Report, Row
from learnae.bench.table import describe

__all__ = ["draw"]


def draw(report: Report, path: Path) -> None:
    """Write bars against the floor to `path`, in the format of its suffix: one panel a size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = sorted({row.n for row in report.rows})
    panels = [[row for row in report.rows if row.n == n] for n in sizes]
    height = 1.2 + 0.22 * max(map(len, panels), default=1)
    figure = Figure(figsize=(5.0 * max(1, len(sizes)), height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, max(1, len(sizes)), squeeze=False)[0]
    for n, panel, axis in zip(sizes, panels, axes, strict=False):
        _draw_panel(axis, n, panel)
    figure.suptitle(describe(report.machine), fontsize=7, wrap=True)
    figure.savefig(path, dpi=120)


def _draw_panel(axis: Any, n: int, rows: list[Row]) -> None:
    labels = [f"{r.kernel} {r.codec}, k={r.k}, {r.isa} x {r.threads}" for r in rows]
    fractions = [row.floor_fraction for row in rows]
    threads = sorted({row.threads for row in rows})
    colours = [f"C{threads.index(row.threads)}" for row in rows]
    places = range(len(rows))
    axis.barh(places, fractions, color=colours)
    for place, row in zip(places, rows, strict=True):
        axis.text(0.01, place, f"{row.gb_per_s:.1f} GB/s", va="center", fontsize=6, color="w")
    axis.axvline(1.0, color="k", linewidth=1)
    axis.set_yticks(places, labels, fontsize=6)
    axis.invert_yaxis()
    axis.set_xlabel("floor's time / its own: 1 is the speed of memory")
    axis.set_title(f"{n:,} elements", fontsize=9)
