"""``learnae ipfs``: the IPFS daemon of a swarm on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from learnae.cli.formats import nbytes, print_json
from learnae.errors import UsageError
from learnae.wording import count

if TYPE_CHECKING:
    from learnae.node.kubo import DaemonStatus

__all__ = ["command"]

_CHARTER = click.argument(
    "charter", required=False, type=click.Path(path_type=Path, dir_okay=False)
)
_REPO = click.option(
    "--repo",
    type=click.Path(path_type=Path, file_okay=False),
    help="The daemon's folder.  [default: one per swarm, in your user data]",
)
_API = click.option(
    "--api", metavar="MULTIADDR", help="A daemon that runs already, e.g. /ip4/127.0.0.1/tcp/5001."
)


@click.group(
    "ipfs",
    short_help="The IPFS daemon of a swarm.",
    epilog="""\b
Examples:
  learnae ipfs up swarm.toml
  learnae ipfs up swarm.toml --listen /ip4/0.0.0.0/tcp/4001
  learnae ipfs status swarm.toml
  learnae ipfs down swarm.toml""",
)
def command() -> None:
    """Run a private IPFS daemon (Kubo) for a swarm, or look at the one you run yourself."""


@command.command("up")
@_CHARTER
@_REPO
@_API
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The swarm's key file.  [default: beside the charter]",
)
@click.option(
    "--listen",
    multiple=True,
    metavar="MULTIADDR",
    help="Where others reach it.  [default: all addresses, a free port that it keeps]",
)
@click.option("--peer", "peers", multiple=True, metavar="MULTIADDR", help="Stay connected to it.")
@click.option("--mdns", is_flag=True, help="Also look for daemons in the local network.")
@click.option(
    "--public", is_flag=True, help="Accept the public network: everybody can fetch what you share."
)
def up(
    charter: Path | None,
    repo: Path | None,
    api: str | None,
    key: Path | None,
    listen: tuple[str, ...],
    peers: tuple[str, ...],
    mdns: bool,
    public: bool,
) -> None:
    """Start the daemon of CHARTER's swarm, in a network that only its members can enter.

    With --api, check a daemon that you run yourself instead.
    """
    from learnae.node.kubo import (
        RepoOptions,
        check_daemon,
        check_listen,
        check_peers,
        init_repo,
        start_daemon,
        stop_daemon,
    )

    if charter is None:
        raise click.UsageError("which swarm? name its charter: learnae ipfs up swarm.toml")
    key_text = None if public and key is None else swarm_key_text(charter, key)
    if api is not None:
        status = check_daemon(api, swarm_key_text=key_text, public=public)
        show(status)
        transport = f"ipfs:{api}"
    else:
        folder = repo_of(charter, repo)
        options = RepoOptions(
            swarm_key_text=None if public else key_text,
            listen=check_listen(listen) or None,
            mdns=mdns,
            peers=check_peers(peers),
        )
        if init_repo(folder, options) and stop_daemon(folder):
            click.echo("what you asked for is new: the daemon is started again")
        start_daemon(folder)
        show(check_daemon(str(folder), swarm_key_text=key_text, public=public))
        transport = f"ipfs:{folder}"
    click.echo(f"Next: learnae join {charter} --data FILE --transport {transport}")


@command.command("down")
@_CHARTER
@_REPO
def down(charter: Path | None, repo: Path | None) -> None:
    """Stop the daemon; what it stores stays for the next time."""
    from learnae.node.kubo import stop_daemon

    folder = repo_of(charter, repo)
    stopped = stop_daemon(folder)
    click.echo(f"stopped the daemon on {folder}" if stopped else f"no daemon runs on {folder}")


@command.command("status")
@_CHARTER
@_REPO
@_API
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def status(charter: Path | None, repo: Path | None, api: str | None, as_json: bool) -> None:
    """Say whether the daemon runs, where it listens, and how many others it is connected to."""
    from learnae.node.kubo import inspect_daemon

    found = inspect_daemon(api if api is not None else str(repo_of(charter, repo)))
    if as_json:
        print_json(asdict(found))
    else:
        show(found)


def repo_of(charter: Path | None, repo: Path | None) -> Path:
    """Return the daemon's folder: the one named, or the swarm's."""
    from learnae.node.join import read_charter
    from learnae.node.places import default_repo

    if repo is not None:
        return repo.absolute()
    if charter is None:
        raise click.UsageError("which daemon? name the swarm's charter, or --repo")
    return default_repo(read_charter(charter).swarm_id)


def swarm_key_text(charter: Path, key: Path | None) -> str:
    """Return the text of the private network's key.

    Raises
    ------
    UsageError
        There is no swarm key; with the cure.
    """
    from learnae.node.join import read_charter
    from learnae.node.swarmkey import find_swarm_key, key_path, read_swarm_key
    from learnae.transports.keys import kubo_swarm_key

    swarm = read_charter(charter)
    secret = find_swarm_key(charter) if key is None else read_swarm_key(key)
    if secret is None:
        raise UsageError(
            f"{key_path(charter)}: no such file, and without the swarm's key there is no private "
            "network; ask a member for an invite (learnae invite), or say --public"
        )
    return kubo_swarm_key(secret, swarm.swarm_id)


def show(found: DaemonStatus) -> None:
    """Print what is known of a daemon."""
    if not found.running:
        click.echo(f"no daemon runs{f' on {found.repo}' if found.repo else ''}")
        return
    process = f", process {found.pid}" if found.pid is not None else ""
    click.echo(f"Kubo {found.version} runs{process}: {found.network}, RPC {found.api}")
    if found.repo is not None:
        click.echo(f"repo {found.repo}, {nbytes(found.repo_nbytes or 0)}")
    click.echo(
        f"connected to {count(found.n_peers, 'other')}; pubsub {'on' if found.pubsub else 'off'}"
    )
    for address in found.addresses:
        click.echo(f"  {address}")
