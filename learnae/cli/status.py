"""``learnae status``: how peers are doing, and what a swarm has announced."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from learnae.cli.folders import default_homes, known_homes, open_to_look
from learnae.cli.formats import age, nbytes, number, print_json
from learnae.cli.statusfile import PeerStatus, is_running, read_status
from learnae.errors import AnnouncementError, UsageError
from learnae.wording import count

if TYPE_CHECKING:
    from learnae.node.access import Access
    from learnae.swarm.announcement import Announcement
    from learnae.swarm.charter import Charter
    from learnae.transports.seam import Subscription

__all__ = ["command", "describe_homes", "heard_in_swarm"]

LISTEN_S = 3.0
POLL_S = 0.1


@click.command(
    "status",
    short_help="How peers are doing.",
    epilog="""\b
Examples:
  learnae status
  learnae status home-1 home-2 --json
  learnae status --charter swarm.toml --transport directory:/mnt/shared/swarm""",
)
@click.argument("homes", nargs=-1, type=click.Path(path_type=Path), metavar="[HOME]...")
@click.option(
    "--charter",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also list what the peers of this swarm have announced.",
)
@click.option(
    "--transport",
    metavar="directory:PATH",
    help="Where the swarm announces.  [default: as for join]",
)
@click.option(
    "--listen",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to listen to the swarm.  [default: 3 over IPFS; a folder has all at once]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    homes: tuple[Path, ...],
    charter: Path | None,
    transport: str | None,
    listen: float | None,
    as_json: bool,
) -> None:
    """Show the state of peers by their folders, and of a swarm by its announcements."""
    if transport is not None and charter is None:
        raise click.UsageError("--transport needs --charter: it says which swarm to listen for")
    named = list(homes) or ([] if charter else known_homes())
    document: dict[str, Any] = {"homes": describe_homes(named, must_exist=bool(homes))}
    if charter is not None:
        from learnae.node.access import access_of
        from learnae.node.join import default_transport, read_charter

        swarm = read_charter(charter)
        address = transport or default_transport(swarm)
        access = access_of(charter, swarm, public=True)
        if listen is None:
            listen = LISTEN_S if address.startswith("ipfs:") else 0.0
        document["swarm"] = heard_in_swarm(swarm, address, access, listen)
    if as_json:
        print_json(document)
        return
    if named or charter is None:
        print_homes(document["homes"])
    if charter is not None:
        print_swarm(document["swarm"])


def describe_homes(homes: Sequence[Path], must_exist: bool) -> list[dict[str, Any]]:
    """Return one mapping per home: the peer's status, its age and whether it runs.

    Raises
    ------
    UsageError
        If `must_exist` and a folder is not there or no peer has ever run in it.
    """
    described = []
    for home in homes:
        status = read_status(home)
        if status is None:
            if must_exist:
                why = "no peer has run in it" if home.is_dir() else "there is no such folder"
                raise UsageError(f"{home} is not a peer's folder: {why}")
            continue
        described.append(describe_home(home, status))
    return described


def describe_home(home: Path, status: PeerStatus) -> dict[str, Any]:
    """Return `status` as a mapping, with the folder, its age in seconds and liveness."""
    age_s = None if status.updated_at is None else max(0.0, time.time() - status.updated_at)
    return {"home": str(home), "running": is_running(status), "age_s": age_s, **asdict(status)}


def heard_in_swarm(
    charter: Charter, transport: str, access: Access, listen_s: float = 0.0
) -> dict[str, Any]:
    """Return the newest announcement of every peer, as heard within `listen_s` seconds.

    A folder still holds them all; over IPFS each is only heard when it is said again.
    """
    from learnae.swarm.announcement import decode_announcement

    newest: dict[str, Announcement] = {}
    n_refused = 0
    with open_to_look(transport, access) as looked_at:
        subscription = looked_at.subscribe(charter.topic)
        for data in _taken(subscription, listen_s):
            try:
                announcement = decode_announcement(data)
            except AnnouncementError:
                n_refused += 1
                continue
            if announcement.swarm_id != charter.swarm_id:
                n_refused += 1
                continue
            known = newest.get(announcement.peer_id)
            if known is None or announcement.sequence > known.sequence:
                newest[announcement.peer_id] = announcement
        subscription.close()
    return {
        "name": charter.name,
        "swarm_id": charter.swarm_id.hex(),
        "transport": transport,
        "listened_s": listen_s,
        "refused": n_refused,
        "peers": [describe_announcement(newest[peer_id]) for peer_id in sorted(newest)],
    }


def _taken(subscription: Subscription, listen_s: float) -> Iterator[bytes]:
    """Yield what arrives within `listen_s` seconds, and what is there at once in any case."""
    end = time.monotonic() + listen_s
    while True:
        yield from subscription.take()
        if time.monotonic() >= end:
            return
        time.sleep(POLL_S)


def describe_announcement(announcement: Announcement) -> dict[str, Any]:
    """Return what an announcement says of its sender, with its age in seconds."""
    return {
        "peer_id": announcement.peer_id,
        "kind": str(announcement.kind),
        "sequence": announcement.sequence,
        "round": announcement.round,
        "samples": announcement.samples,
        "loss": announcement.loss,
        "codec": announcement.codec,
        "time": announcement.time,
        "age_s": time.time() - announcement.time,
    }


def print_homes(homes: Sequence[dict[str, Any]]) -> None:
    """Print one row per peer folder."""
    from rich.console import Console
    from rich.table import Table

    if not homes:
        click.echo(
            f"no peer folder in {default_homes()}; name the folders: learnae status home-1 ..."
        )
        return
    table = Table(box=None, pad_edge=False)
    for name in ("peer", "state", "round", "loss", "accuracy", "merged", "sent", "received"):
        right = name not in ("peer", "state")
        table.add_column(name, justify="right" if right else "left")
    for home in homes:
        state = home["state"]
        if not home["running"] and state != "stopped":
            state = f"[red]dead[/red] for {age(home['age_s'])}"
        total = f"/{home['rounds']}" if home["rounds"] is not None else ""
        table.add_row(
            home["peer_id"][:8],
            state,
            f"{home['round']}{total}",
            number(home["loss"]),
            number(home["accuracy"]),
            str(home["n_merged"]),
            nbytes(home["bytes_sent"]),
            nbytes(home["bytes_received"]),
        )
    Console().print(table)
    for home in homes:
        click.echo(f"{home['peer_id']}  {home['home']}")


def print_swarm(swarm: dict[str, Any]) -> None:
    """Print one row per peer that has announced something."""
    from rich.console import Console
    from rich.table import Table

    click.echo(f"swarm {swarm['name']} ({swarm['swarm_id'][:8]}) over {swarm['transport']}")
    if not swarm["peers"]:
        within = swarm["listened_s"]
        click.echo(
            f"nobody heard within {within:g} s; listen longer with --listen"
            if within
            else "nobody has announced anything yet"
        )
    else:
        table = Table(box=None, pad_edge=False)
        for name in ("peer", "kind", "round", "age", "samples", "loss", "codec"):
            right = name not in ("peer", "kind", "codec")
            table.add_column(name, justify="right" if right else "left")
        for peer in swarm["peers"]:
            table.add_row(
                peer["peer_id"][:8],
                peer["kind"],
                str(peer["round"]),
                age(peer["age_s"]),
                f"{peer['samples']:,}",
                number(peer["loss"]),
                peer["codec"],
            )
        Console().print(table)
    if swarm["refused"]:
        click.echo(f"not shown, as not valid: {count(swarm['refused'], 'announcement')}")
