"""The picture of a demo: each peer's accuracy over time, between isolated and central."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.cli.demo.plan import Plan
from learnae.cli.demo.run import Course
from learnae.cli.statusfile import RoundLine, read_rounds

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
    axes.legend(loc="center right", frameon=False)
    figure.savefig(path)


def draw_peers(axes: Axes, plan: Plan, course: Course) -> float:
    """Draw one line a peer; return a low accuracy that should still be in the picture."""
    assert course.training_at is not None
    low: list[float] = []
    labelled: set[str] = set()
    away = absence(course)
    for peer in plan.peers:
        seconds, accuracy = curve(read_rounds(peer.home), course.training_at)
        if not accuracy:
            continue
        low.append(sorted(accuracy)[len(accuracy) // 10])
        killed = course.killed is not None and course.killed.peer == peer.name
        colour, label = (
            (KILLED_COLOUR, "the one killed and restarted")
            if killed
            else (LATE_COLOUR, "the one that came late")
            if peer.late
            else (PEER_COLOUR, "peer of the swarm")
        )
        for xs, ys in split(seconds, accuracy, away if killed else None):
            shown = "_" if label in labelled else label
            labelled.add(label)
            axes.plot(xs, ys, color=colour, label=shown, linewidth=1.5, marker=".", markersize=4)
        if killed and away is not None:  # here, to follow its peer in the legend
            label = "while it was away"
            axes.axvspan(*away, color=KILLED_COLOUR, alpha=0.08, linewidth=0, label=label)
    return min(low, default=0.5)


def curve(rounds: Sequence[RoundLine], since: float) -> tuple[list[float], list[float]]:
    """Return seconds since `since` and accuracy where it was measured, not merely repeated."""
    points: list[tuple[float, float]] = []
    for line in rounds:
        if line.accuracy is not None and (not points or points[-1][1] != line.accuracy):
            points.append((line.time - since, line.accuracy))
    return [seconds for seconds, _ in points], [accuracy for _, accuracy in points]


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
