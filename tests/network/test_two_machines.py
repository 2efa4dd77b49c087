"""What docs/ipfs.md tells users to type, typed on two hosts: one invites, the other joins."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from netns import Link, Network
from network.machines import Machine, wait_until, write_csv

from kubo import need_kubo
from learnae.learn.magic import LABEL, read_magic

FIRST_MERGE_S = 300.0
N_ROWS = 2000


@pytest.mark.deadline(500)
def test_from_nothing_to_a_merged_round(tmp_path: Path) -> None:
    need_kubo()
    table = read_magic()
    assert table.y is not None
    with Network(["anna", "ben"], Link(rate_bps=100e6, delay_s=0.005)) as network:
        anna, ben = (Machine(host, tmp_path / host.name) for host in network.hosts.values())
        write_csv(anna.folder / "mine.csv", table.take(range(0, len(table), len(table) // N_ROWS)))
        write_csv(ben.folder / "mine.csv", table.take(range(1, len(table), len(table) // N_ROWS)))
        began = time.monotonic()
        create = ["create", "swarm.toml", "--data", "mine.csv", "--label", LABEL]
        anna.learnae(*create)
        anna.learnae("ipfs", "up", "swarm.toml", timeout_s=120.0)
        anna.join("swarm.toml", "--data", "mine.csv")
        invite = anna.learnae("invite", "swarm.toml").strip()
        ben.join(invite, "--data", "mine.csv")
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
        said = anna.learnae("doctor", "swarm.toml", "--home", anna.home)
        assert "nothing is wrong" in said and "2 heard" in said
        for machine in (anna, ben):
            machine.stop_peer()
        anna.learnae("ipfs", "down", "swarm.toml")
