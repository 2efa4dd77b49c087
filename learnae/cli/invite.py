"""``learnae invite``: one string with which another machine joins a swarm."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command(
    "invite",
    short_help="Let another machine in.",
    epilog="""\b
Examples:
  learnae invite swarm.toml
  (umask 077; learnae invite swarm.toml > invite.txt)
  learnae join invite.txt --data mine.csv     on the other machine""",
)
@click.argument("charter", type=click.Path(path_type=Path, dir_okay=False), default="swarm.toml")
@click.option(
    "--transport",
    metavar="ipfs:...",
    help="The daemon to use.  [default: the swarm's, see ipfs up]",
)
@click.option("--public", is_flag=True, help="Accept a daemon in the public network.")
def command(charter: Path, transport: str | None, public: bool) -> None:
    """Print an invite to the swarm of CHARTER.

    Whoever has the invite can join and can read all that the swarm publishes: send it as you would
    send a password. It names this machine's IPFS daemon, which has to run until they have joined.
    """
    from learnae.errors import UsageError
    from learnae.node.access import start_own_daemon
    from learnae.node.invite import make_invite
    from learnae.node.join import default_transport, read_charter
    from learnae.swarm.invite import decode_invite
    from learnae.transports.ipfs.dialling import is_loopback

    swarm = read_charter(charter)
    address = transport or default_transport(swarm)
    if not address.startswith("ipfs:"):
        raise UsageError(
            f"an invite leads to an IPFS daemon, and there is none: learnae ipfs up {charter}"
        )
    start_own_daemon(address)
    text = make_invite(charter, address, public=public)
    click.echo(text)
    if all(is_loopback(place) for place in decode_invite(text).addresses):
        click.echo(
            "This daemon listens on this machine only, and so the invite is good only here: "
            f"learnae ipfs up {charter} --listen /ip4/0.0.0.0/tcp/4001 opens it to others; "
            "then invite again.",
            err=True,
        )
    if swarm.model.factory != "mlp":
        file = swarm.model.factory.partition(":")[0]
        click.echo(
            f"They also need {file}, in the folder that learnae join will name: code is never "
            "sent by learnae.",
            err=True,
        )
