"""``learnae doctor``: look at everything a peer needs, and say what is wrong and what to do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from learnae.cli.folders import open_to_look
from learnae.cli.formats import print_json

if TYPE_CHECKING:
    from learnae.node.finding import Finding
    from learnae.swarm.charter import Charter
    from learnae.transports import Transport

__all__ = ["command"]

MARKS = {"good": ("ok", "green"), "note": ("note", "yellow"), "fault": ("FAULT", "red")}


@click.command(
    "doctor",
    short_help="Find out why a peer does not work.",
    epilog="""\b
Examples:
  learnae doctor swarm.toml
  learnae doctor swarm.toml --transport ipfs:/ip4/127.0.0.1/tcp/5001 --listen 30

Exit codes: 0 nothing is wrong, 1 there is a fault.""",
)
@click.argument("charter", type=click.Path(path_type=Path, dir_okay=False), default="swarm.toml")
@click.option(
    "--home", type=click.Path(path_type=Path), help="The peer's folder.  [default: as for join]"
)
@click.option(
    "--transport", metavar="ADDRESS", help="How peers reach each other.  [default: as for join]"
)
@click.option(
    "--listen",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen for other peers.",
)
@click.option("--public", is_flag=True, help="Accept an IPFS daemon in the public network.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def command(
    ctx: click.Context,
    charter: Path,
    home: Path | None,
    transport: str | None,
    listen: float,
    public: bool,
    as_json: bool,
) -> None:
    """Look at key, charter, clock, disk, daemon, and the way to the other peers of CHARTER."""
    from learnae.node.access import access_of
    from learnae.node.doctor import Doctor
    from learnae.node.finding import Verdict
    from learnae.node.join import default_transport

    def address_of(swarm: Charter) -> str:
        return transport or default_transport(swarm)

    def open_it(swarm: Charter, address: str) -> AbstractContextManager[Transport]:
        return open_to_look(address, access_of(charter, swarm, public=public), must_exist=False)

    findings = []
    for finding in Doctor(charter, home, address_of, open_it, listen, public).examine():
        findings.append(finding)
        if not as_json:
            show(finding)
    faults = [finding for finding in findings if finding.verdict is Verdict.FAULT]
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings], "faults": len(faults)})
    elif faults:
        click.echo(f"{len(faults)} fault(s): mend the first, then look again")
    else:
        click.echo("nothing is wrong")
    ctx.exit(1 if faults else 0)


def show(finding: Finding) -> None:
    """Print one finding as a line."""
    word, colour = MARKS[finding.verdict]
    line = " ".join(finding.line.split())
    click.echo(f"{click.style(f'{word:5}', fg=colour)}  {finding.part:13} {line}")
