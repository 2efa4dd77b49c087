"""The picture of a demo: each peer's accuracy over time, between isolated and central."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.cli.demo.plan import Plan
from learnae.cli.demo.run import Course
from learnae.cli.statusfile import read_rounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_accuracy"]

PEER_COLOUR = "#4c78a8"
KILLED_COLOUR = "#d1495b"
LATE_COLOUR = "#2a9d6f"
CENTRAL_COLOUR = "#222222"
ISOLATED_COLOUR = "#8a8a8a"


def draw_accuracy(plan: Plan, course: Course, summary: Mapping[str, Any], path: Path) -> None:
    """Draw the accuracy of every peer over time into the PNG file `path`.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    """
    # A home without write permission (CI) would make matplotlib warn on standard error.
    os.environ.setdefault("MPLCONFIGDIR", str(plan.cache / "matplotlib"))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lowest = draw_peers(axes, plan, course)
    draw_baselines(axes, summary)
    mean_isolated = statistics.fmean(summary["accuracy"]["isolated"])
    top = max(summary["accuracy"]["central"], *summary["accuracy"]["swarm"])
    bottom = max(min(lowest, mean_isolated) - 0.02, top - 0.35)
    axes.set_ylim(bottom, top + 0.02)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since training began")
    axes.set_ylabel("accuracy on held-out data")
    axes.set_title(
        f"{len(plan.peers)} peers, MAGIC, Dirichlet({plan.options.alpha:g}), "
        f"codec {plan.options.codec}, seed {plan.options.seed}",
        loc="left",
    )
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path)


def draw_peers(axes: Axes, plan: Plan, course: Course) -> float:
    """Draw one line a peer; return a low accuracy that should still be in the picture."""
    assert course.training_at is not None
    killed = course.killed.peer if course.killed else None
    low: list[float] = []
    labelled = False
    for peer in plan.peers:
        rounds = [line for line in read_rounds(peer.home) if line.accuracy is not None]
        seconds = [line.time - course.training_at for line in rounds]
        accuracy = [line.accuracy for line in rounds if line.accuracy is not None]
        if not accuracy:
            continue
        low.append(statistics.quantiles(accuracy, n=10)[0] if len(accuracy) > 1 else accuracy[0])
        if peer.name == killed:
            style: dict[str, Any] = {"color": KILLED_COLOUR, "label": "killed and restarted"}
        elif peer.late:
            style = {"color": LATE_COLOUR, "label": "joined late"}
        else:
            style = {"color": PEER_COLOUR, "alpha": 0.75}
            if not labelled:
                style["label"], labelled = "peer of the swarm", True
        gap = absence(course) if peer.name == killed else None
        for part, (xs, ys) in enumerate(split(seconds, accuracy, gap)):
            if part:
                style.pop("label", None)
            axes.plot(xs, ys, linewidth=1.6, **style)
    if course.killed and course.killed.back_at:
        start, end = absence(course) or (0.0, 0.0)
        axes.axvspan(start, end, color=KILLED_COLOUR, alpha=0.10, linewidth=0)
    return min(low, default=0.5)


def absence(course: Course) -> tuple[float, float] | None:
    """Return from when until when the killed peer was away, in seconds of training."""
    killed = course.killed
    if killed is None or killed.back_at is None or course.training_at is None:
        return None
    return killed.killed_at - course.training_at, killed.back_at - course.training_at


def split(
    xs: list[float], ys: list[float], gap: tuple[float, float] | None
) -> list[tuple[list[float], list[float]]]:
    """Cut a curve in two at `gap`, so that no line suggests values that were never measured."""
    if gap is None:
        return [(xs, ys)]
    cut = sum(x <= gap[0] for x in xs)
    return [(xs[:cut], ys[:cut]), (xs[cut:], ys[cut:])]


def draw_baselines(axes: Axes, summary: Mapping[str, Any]) -> None:
    """Draw where isolated peers and all data on one machine end up."""
    isolated, central = summary["accuracy"]["isolated"], summary["accuracy"]["central"]
    mean = statistics.fmean(isolated)
    axes.axhline(
        central,
        color=CENTRAL_COLOUR,
        linestyle="--",
        linewidth=1.2,
        label="all data on one machine",
    )
    axes.axhline(
        mean, color=ISOLATED_COLOUR, linestyle=":", linewidth=1.6, label="isolated peers, mean"
    )
