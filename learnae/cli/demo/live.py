"""The swarm while it runs: a live table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from learnae.cli.demo.run import Row, Snapshot
from learnae.cli.formats import nbytes, number

__all__ = ["View", "live_table", "open_view", "plain_line"]

LINE_EVERY_S = 5.0

COLOURS = {"training": "green", "serving": "cyan", "starting": "yellow", "killed": "red"}


class View(Protocol):
    """Shows snapshots as they come."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the swarm as it is now."""


@contextmanager
def open_view(console: Console) -> Iterator[View]:
    """Open the view that suits `console` and close it at the end of the block."""
    if not console.is_terminal:
        yield PlainView(console)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield LiveView(live)


class LiveView:
    """Keeps one table on the terminal up to date."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the table."""
        self._live.update(live_table(snapshot), refresh=True)


class PlainView:
    """Prints a line every few seconds, and one whenever a peer comes or goes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed_at = float("-inf")
        self._states: dict[str, str] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Print what has changed, and the swarm's line when it is time."""
        for row in snapshot.rows:
            before = self._states.get(row.name)
            if before is not None and before != row.state:
                self._console.print(
                    f"{snapshot.seconds:5.0f} s  {row.name} is {row.state}", highlight=False
                )
            self._states[row.name] = row.state
        if time.monotonic() - self._printed_at >= LINE_EVERY_S:
            self._printed_at = time.monotonic()
            self._console.print(plain_line(snapshot), highlight=False, soft_wrap=True)


def plain_line(snapshot: Snapshot) -> str:
    """Return the swarm in one line."""
    at_work = [row.status for row in snapshot.rows if row.status and row.state != "killed"]
    losses = [status.loss for status in at_work if status.loss is not None]
    accuracies = [status.accuracy for status in at_work if status.accuracy is not None]
    sent = sum(status.bytes_sent for status in at_work)
    parts = [
        f"{snapshot.seconds:5.0f} s",
        f"round {snapshot.median_round}/{snapshot.rounds}",
        f"alive {sum(row.alive for row in snapshot.rows)}/{len(snapshot.rows)}",
    ]
    if losses:
        parts.append(f"loss {number(sum(losses) / len(losses))}")
    if accuracies:
        mean, worst = sum(accuracies) / len(accuracies), min(accuracies)
        parts.append(f"accuracy {number(mean, 3)} (worst {number(worst, 3)})")
    parts.append(f"{nbytes(sent)} sent")
    return "  ".join(parts)


def live_table(snapshot: Snapshot) -> Table:
    """Return the swarm as a table, one row a peer."""
    title = f"round {snapshot.median_round} of {snapshot.rounds}, {snapshot.seconds:.0f} s"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    names = ("peer", "state", "samples", "round", "loss", "accuracy", "merged", "sent", "received")
    for name in names:
        table.add_column(name, justify="left" if name in ("peer", "state") else "right")
    for row in snapshot.rows:
        table.add_row(*cells(row))
    return table


def cells(row: Row) -> tuple[str, ...]:
    """Return one peer's row; `merged` counts the models in its last mean."""
    colour = COLOURS.get(row.state, "dim")
    head = (row.name, f"[{colour}]{row.state}[/{colour}]", f"{row.samples:,}")
    status = row.status
    if status is None:
        return (*head, "", "", "", "", "", "")
    return (
        *head,
        str(status.round),
        number(status.loss),
        number(status.accuracy, 3),
        str(status.n_merged),
        nbytes(status.bytes_sent),
        nbytes(status.bytes_received),
    )
