"""The report as a picture: how much of the floor each kernel reaches.

One row of panels for each kernel and one column for each size. A panel has a place for each codec,
number of models and instruction set, and there a bar for each number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import Any

from learnae.bench.report import Report, Row
from learnae.bench.table import describe
from learnae.wording import count

__all__ = ["check", "draw"]

_FORMATS = (".png", ".pdf", ".svg")
# Inches. Axes are placed by them: matplotlib's own layout of fifty panels takes seconds.
_BAR = 0.14
_TITLE = 0.36  # above each panel
_LINE, _BOTTOM = 0.14, 0.8  # a line about the machine; the scale and the legend
_WIDTH, _GAP = 3.4, 0.25
_LABELS, _RIGHT = 1.6, 0.2
# Above twice the floor bars are cut off, so that one of a cache does not flatten the others.
_MOST = 2.0
_GROUP = 0.84  # of a place is bars, the rest is space

_Place = tuple[str, int, str]


def check(path: Path) -> None:
    """Make sure, before anything is measured, that a picture can be written to `path`.

    Raises
    ------
    ValueError
        If matplotlib is not installed, or does not write what the suffix says.
    OSError
        If the file cannot be written.
    """
    if find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install matplotlib")
    if path.suffix.lower() not in _FORMATS:
        raise ValueError(f"--plot writes {', '.join(_FORMATS)}, not {path.name!r}")
    existed = path.exists()
    with path.open("ab"):  # only opening tells: rights say nothing of full or read-only systems
        pass
    if not existed:
        path.unlink()


def draw(report: Report, path: Path) -> None:
    """Write the panels to `path`, in the format of its suffix."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    kernels = list(dict.fromkeys(row.kernel for row in report.rows))
    sizes = sorted({row.n for row in report.rows})
    threads = sorted({row.threads for row in report.rows})
    places = {k: _places(row for row in report.rows if row.kernel == k) for k in kernels}
    heights = [_BAR * len(threads) * len(places[k]) / _GROUP for k in kernels]
    width = _LABELS + len(sizes) * (_WIDTH + _GAP) - _GAP + _RIGHT
    machine = wrap(describe(report.machine), int(15 * width))
    height = _LINE * (1 + len(machine)) + sum(heights) + _TITLE * len(kernels) + _BOTTOM
    most = min(_MOST, max((row.floor_fraction for row in report.rows), default=1.0))
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    top = height - _LINE * (1 + len(machine))
    for kernel, tall in zip(kernels, heights, strict=True):
        top -= _TITLE + tall
        for column, n in enumerate(sizes):
            left = _LABELS + column * (_WIDTH + _GAP)
            box = (left / width, top / height, _WIDTH / width, tall / height)
            axis = figure.add_axes(box, xlim=(0, max(1.0, most) + 0.18))
            rows = [row for row in report.rows if (row.kernel, row.n) == (kernel, n)]
            _draw_panel(axis, rows, places[kernel], threads)
            axis.set_title(f"{kernel}, {count(n, 'element')}", fontsize=9, loc="left", y=1.0)
            axis.tick_params(labelleft=column == 0, labelbottom=kernel == kernels[-1])
    handles = [Patch(color=f"C{i}") for i in range(len(threads))]
    named = [count(n, "thread") for n in threads]
    scale = "part of the floor that is reached: 100% is the speed of memory"
    style: dict[str, Any] = {"fontsize": 8, "title": scale, "title_fontsize": 8, "frameon": False}
    figure.legend(handles, named, loc="lower center", ncols=len(named), **style)
    about: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "top"}
    figure.text(0.5, 1 - _LINE / 2 / height, "\n".join(machine), **about)
    figure.savefig(path, dpi=120)


def _places(rows: Iterable[Row]) -> list[_Place]:
    """Return what a kernel's panels have bars for, in the order of its rows."""
    return list(dict.fromkeys((row.codec, row.k, row.isa) for row in rows))


def _draw_panel(
    axis: Any, rows: Sequence[Row], places: Sequence[_Place], threads: Sequence[int]
) -> None:
    thickness = _GROUP / len(threads)
    for i, n_threads in enumerate(threads):
        chosen = [row for row in rows if row.threads == n_threads]
        start = (i + 0.5) * thickness - _GROUP / 2
        at = [places.index((row.codec, row.k, row.isa)) + start for row in chosen]
        shown = [min(row.floor_fraction, _MOST) for row in chosen]
        axis.barh(at, shown, thickness, color=f"C{i}")
        for y, x, row in zip(at, shown, chosen, strict=True):
            axis.text(x + 0.01, y, f"{row.floor_fraction:.0%}", va="center", fontsize=6)
    axis.axvline(1.0, color="k", linewidth=1)
    axis.set_yticks(range(len(places)), [f"{c}, k={k}, {isa}" for c, k, isa in places], fontsize=7)
    axis.set_ylim(len(places) - 0.5, -0.5)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xticks([0, 0.5, 1, 1.5, 2][: 1 + int(2 * axis.get_xlim()[1])])
    axis.tick_params(axis="x", labelsize=7)
