"""What the README tells users of two machines to type, typed on two hosts as it is written."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest
from netns import Link, Network
from network.machines import Machine, write_csv
from waiting import wait_until

from kubo import need_kubo
from learnae.learn.magic import read_magic

README = Path(__file__).parents[2] / "README.md"
FIRST_MERGE_S = 300.0
N_ROWS = 2000


def written_commands() -> list[list[str]]:
    """Return the lines of each code block of the README's section on two machines."""
    section = README.read_text().partition("## On two machines")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return [[line.partition(" #")[0].rstrip() for line in block.splitlines()] for block in blocks]


class User:
    """Somebody at a terminal, in the folder where learnae was installed."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        (machine.folder / ".venv").symlink_to(sys.prefix)

    def type(self, activate: str, line: str) -> str:
        """Type a line and wait until it is done."""
        shell = ["sh", "-ec", f"{activate}; {line}"]
        machine = self.machine
        done = machine.host.run(shell, env=machine.env, cwd=machine.folder, timeout_s=FIRST_MERGE_S)
        return done.stdout

    def leave_running(self, activate: str, line: str) -> None:
        """Type a line in a terminal of its own."""
        shell = ["sh", "-ec", f"{activate}; exec {line}"]
        machine = self.machine
        machine.peer = machine.host.start(
            shell, env=machine.env, cwd=machine.folder, log=machine.log
        )


@pytest.mark.deadline(500)
def test_from_nothing_to_a_merged_round(tmp_path: Path) -> None:
    need_kubo()
    (activate, create, up, join, invite), (activate_2, join_2) = written_commands()
    table = read_magic()
    assert table.y is not None
    with Network(["anna", "ben"], Link(rate_bps=100e6, delay_s=0.005)) as network:
        anna, ben = (Machine(host, tmp_path / host.name) for host in network.hosts.values())
        write_csv(anna.folder / "mine.csv", table.take(range(0, len(table), len(table) // N_ROWS)))
        write_csv(ben.folder / "mine.csv", table.take(range(1, len(table), len(table) // N_ROWS)))
        began = time.monotonic()
        one, two = User(anna), User(ben)
        one.type(activate, create)
        one.type(activate, up)
        one.leave_running(activate, join)
        told = one.type(activate, invite).strip()
        assert "learnae1_..." in join_2
        two.leave_running(activate_2, join_2.replace("learnae1_...", told))
        for machine in (anna, ben):
            wait_until(
                f"a merged round on {machine.host.name}: {machine.tail()}",
                lambda machine=machine: machine.status().get("n_merged", 0) >= 2,
                FIRST_MERGE_S,
            )
        took = time.monotonic() - began
        print(f"first merged round on both hosts after {took:.0f} s")
        assert took < FIRST_MERGE_S
        others = {"127.0.0.1", anna.host.address, ben.host.address}
        for flow in network.flows():
            kind, _, target = flow.partition(" ")
            assert kind in ("tcp", "arp") and target.split(":")[0] in others, flow
        said = one.type(activate, "learnae doctor swarm.toml")
        assert "nothing is wrong" in said and "1 heard" in said
        for machine in (anna, ben):
            machine.stop_peer()
        one.type(activate, "learnae ipfs down swarm.toml")
