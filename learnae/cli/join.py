"""``learnae join``: run one peer until it is stopped."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from learnae.cli.formats import age, nbytes, number
from learnae.cli.statusfile import PeerStatus, read_status
from learnae.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.panel import Panel

    from learnae.node.trainer import TrainerSettings

__all__ = ["command", "stop_when_input_closes"]

LINE_EVERY_S = 5.0
PANEL_EVERY_S = 0.5
MAX_INVITE_NBYTES = 4096  # an invite, folded by a mail program


@click.command(
    "join",
    short_help="Run a peer of a swarm.",
    epilog="""\b
Examples:
  learnae join swarm.toml --data mine.csv
  learnae join swarm.toml --data mine.csv --test held-out.csv --linger 600
  learnae join swarm.toml --relay --transport directory:/mnt/shared/swarm
  learnae join learnae1_pGNrZXlYIJ... --data mine.csv     an invite, see learnae invite
  learnae join invite.txt --data mine.csv                 or the file that holds it

Ctrl-C or SIGTERM: say goodbye, write a checkpoint, end with code 0. A second Ctrl-C: at once.""",
)
@click.argument("charter", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--data", type=click.Path(path_type=Path), help="Your rows: CSV, CSV.gz or NPZ.")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    help="The peer's folder: key, checkpoint, status.  [default: one per swarm, in your user data]",
)
@click.option(
    "--transport",
    metavar="ADDRESS",
    help="directory:PATH, ipfs:REPO or ipfs:MULTIADDR.  "
    "[default: the swarm's daemon if it has one, else a folder in your user data]",
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    help="Held-out rows to report accuracy on; never trained on.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds to train.  [default: charter's]")
@click.option(
    "--linger",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to go on serving after the last round.  [default: until stopped]",
)
@click.option("--relay", is_flag=True, help="Keep and re-serve models; do not train.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="JAX compilation cache.  [default: in your user cache]",
)
@click.option("--public", is_flag=True, help="Accept an IPFS daemon in the public network.")
@click.option("--unsealed", is_flag=True, help="Over IPFS, let everybody read what you publish.")
@click.option("--stop-on-eof", is_flag=True, help="Stop when standard input closes.")
def command(
    charter: Path,
    data: Path | None,
    home: Path | None,
    transport: str | None,
    test: Path | None,
    rounds: int | None,
    linger: float | None,
    relay: bool,
    cache: Path | None,
    public: bool,
    unsealed: bool,
    stop_on_eof: bool,
) -> None:
    """Join the swarm of CHARTER, a file or an invite, with the rows of --data and train."""
    if relay and (data or test):
        raise click.UsageError("a relay does not train: leave out --data and --test")
    if relay and (rounds is not None or linger is not None):
        raise click.UsageError("a relay serves until stopped: leave out --rounds and --linger")
    if not relay and data is None:
        raise click.UsageError("--data is missing (or --relay, for a peer that does not train)")
    show_log()
    from learnae.node.join import default_home, default_transport, read_charter
    from learnae.node.trainer import TrainerSettings

    charter = charter_file(charter, home, transport, public)
    swarm = read_charter(charter)
    settings = TrainerSettings(
        charter=charter,
        data=data,
        home=home or default_home(swarm),
        transport=transport or default_transport(swarm),
        test=test,
        rounds=rounds,
        linger_s=linger,
        role="relay" if relay else "trainer",
        cache=cache,
        public=public,
        unsealed=unsealed,
    )
    run_peer(settings, stop_on_eof)


def run_peer(settings: TrainerSettings, stop_on_eof: bool) -> None:
    """Run a peer, with reports, until it has done or is asked to stop."""
    from learnae.node.trainer import run

    show_log()
    stop = threading.Event()
    stop_on_signals(stop)
    if stop_on_eof:
        stop_when_input_closes(stop.set)
    click.echo(f"peer folder {settings.home}, transport {settings.transport}")
    with reports(settings.home):
        run(settings, stop)
    final = read_status(settings.home)
    if final is not None:
        click.echo(describe(final))


def charter_file(
    charter: Path, home: Path | None, transport: str | None, public: bool = False
) -> Path:
    """Return the charter's file; an invite becomes one, with the swarm's key beside it."""
    from learnae.swarm.invite import decode_invite

    text = invite_in(charter)
    if text is None:
        return charter
    from learnae.node.invite import accept_invite
    from learnae.node.places import swarm_folder

    invite = decode_invite(text)
    folder = home or swarm_folder(invite.swarm_id)
    click.echo(f"invited to swarm {invite.swarm_id.hex()[:16]}; charter and key go to {folder}")
    return accept_invite(invite, folder, transport=transport, public=public)


def invite_in(charter: Path) -> str | None:
    """Return the invite that the argument is, or that its file holds; None for a charter.

    In a file it is seen by those who may read the file; arguments are shown to every user of the
    machine for as long as the command runs.
    """
    from learnae.swarm.invite import looks_like_invite

    text = str(charter)
    if os.path.isfile(charter):  # unlike Path.is_file also for more than 255 letters
        try:
            with charter.open("rb") as file:
                text = file.read(MAX_INVITE_NBYTES).decode("ascii", "replace")
        except OSError:
            return None  # whoever reads the charter says why
    elif charter.name.endswith(".toml"):
        return None
    return text if looks_like_invite(text) else None


class LogLines(logging.Handler):
    """Prints what the peer logs among its other lines; an error's own line comes at the end."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, without the traceback that may belong to it."""
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        click.echo(f"{prefix}{record.getMessage()}")


def show_log() -> None:
    """Show the peer's log as lines, and not what JAX says of a cache that it cannot use."""
    log = logging.getLogger("learnae")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [LogLines()]
    warnings.filterwarnings("ignore", message=".*persistent compilation cache")


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and the first SIGINT set `stop`; the second SIGINT interrupts at once."""

    def ask(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)


def stop_when_input_closes(stop: Callable[[], object]) -> None:
    """Call `stop` once standard input ends, which is also when the program behind it dies."""

    def watch() -> None:
        # Not through sys.stdin: a thread blocked there holds its lock at interpreter exit.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop()

    threading.Thread(target=watch, name="learnae-stdin", daemon=True).start()


def describe(status: PeerStatus) -> str:
    """Return one line about a peer."""
    total = f"/{status.rounds}" if status.rounds is not None else ""
    parts = [f"round {status.round}{total}", status.state]
    if status.loss is not None:
        parts.append(f"loss {number(status.loss)}")
    if status.accuracy is not None:
        parts.append(f"accuracy {number(status.accuracy)}")
    merged = f"{count(status.n_merged, 'model')} in the last mean"
    parts.append(f"{count(status.n_peers, 'peer')} remembered, {merged}")
    parts.append(f"sent {nbytes(status.bytes_sent)}, received {nbytes(status.bytes_received)}")
    if status.rejected:
        parts.append(f"{status.rejected} rejected")
    return "  ".join(parts)


def reports(home: Path) -> AbstractContextManager[None]:
    """Report on the peer in `home` while the block runs: a panel on a terminal, else lines."""
    return panel_reports(home) if sys.stdout.isatty() else line_reports(home)


@contextmanager
def line_reports(home: Path) -> Iterator[None]:
    """Print a line every few seconds while the block runs, if it says anything new."""
    done = threading.Event()

    def report() -> None:
        printed = ""
        while not done.wait(LINE_EVERY_S):
            status = read_status(home)
            if status is None:
                continue
            line = describe(status)
            # A relay, or a peer that only serves, may hear nothing for days.
            if line != printed:
                click.echo(line)
            printed = line

    thread = threading.Thread(target=report, name="learnae-report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def panel_reports(home: Path) -> Iterator[None]:
    """Keep a panel about the peer on the terminal while the block runs."""
    from rich.live import Live

    done = threading.Event()
    with Live(panel(None), auto_refresh=False) as live:

        def report() -> None:
            while not done.wait(PANEL_EVERY_S):
                live.update(panel(read_status(home)), refresh=True)

        thread = threading.Thread(target=report, name="learnae-report", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def panel(status: PeerStatus | None) -> Panel:
    """Return a peer's status as a rich panel."""
    from rich.panel import Panel
    from rich.table import Table

    if status is None:
        return Panel("starting", title="learnae", expand=False)
    table = Table.grid(padding=(0, 2))
    total = f" of {status.rounds}" if status.rounds is not None else ""
    merged = f"{count(status.n_merged, 'model')} in the last mean"
    rows: list[tuple[str, Any]] = [
        ("state", status.state),
        ("round", f"{status.round}{total}"),
        ("loss", number(status.loss)),
        ("accuracy", number(status.accuracy)),
        ("peers", f"{status.n_peers} remembered, {merged}"),
        ("sent", nbytes(status.bytes_sent)),
        ("received", nbytes(status.bytes_received)),
    ]
    if status.started_at is not None and status.updated_at is not None:
        rows.append(("up", age(status.updated_at - status.started_at)))
    for name, value in rows:
        table.add_row(f"[dim]{name}", str(value))
    return Panel(table, title=f"learnae {status.role} {status.peer_id[:8]}", expand=False)
