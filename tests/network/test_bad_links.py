"""Three hosts, models of a megabyte, slow and lossy links: what breaks, and what must not.

Two swarms train side by side on the same data. In one nothing happens beyond the links being
bad. In the other a host is cut off for a third of the run, a daemon and a peer are killed, and
the third host comes late, by an invite.
"""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from netns import Link, Network
from network.machines import Machine, write_csv
from waiting import wait_until

from kubo import need_kubo
from learnae.learn.magic import LABEL, read_magic
from learnae.learn.partition import dirichlet, split_test

BAD = Link(rate_bps=20e6, delay_s=0.04, loss=0.01)
NAMES = ("anna", "ben", "cara")
ROUNDS, ROUND_S, STEPS = 48, 1.2, 40
THIRD = ROUNDS // 3
HIDDEN = "350,350"  # 127,000 params; with the mean gradient a payload of 1.0 MB
START_S, RUN_S = 90.0, 240.0
SLACK = 0.02


class Swarm:
    """Three machines on a network, with a share of the data each."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.machines = {name: Machine(network[name], folder / name) for name in NAMES}
        table = read_magic()
        assert table.y is not None
        train_rows, test_rows = split_test(table.y, len(table), 0.2, 0)
        train, test = table.take(train_rows), table.take(test_rows)
        assert train.y is not None
        for machine, rows in zip(
            self.machines.values(), dirichlet(train.y, len(NAMES), 0.5, 0), strict=True
        ):
            write_csv(machine.folder / "mine.csv", train.take(rows))
            write_csv(machine.folder / "test.csv", test)

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def create(self) -> str:
        """Make the swarm on the first host, start its peer, and return an invite."""
        anna = self["anna"]
        anna.learnae(
            *("create", "swarm.toml", "--data", "mine.csv", "--label", LABEL, "--codec", "f32"),
            *("--hidden", HIDDEN, "--rounds", str(ROUNDS), "--steps", str(STEPS)),
            *("--min-seconds", str(ROUND_S)),
        )
        anna.learnae("ipfs", "up", "swarm.toml", timeout_s=START_S)
        invite = anna.learnae("invite", "swarm.toml").strip()
        self.join("anna", "swarm.toml")
        return invite

    def charter(self, name: str) -> Path:
        """Return where a host has its charter: where it was made, or where an invite put it."""
        machine = self[name]
        return (machine.folder if name == "anna" else machine.home) / "swarm.toml"

    def join(self, name: str, way: str) -> None:
        self[name].join(way, "--data", "mine.csv", "--test", "test.csv")

    def finish(self) -> None:
        """Wait until everybody has done all rounds and remembers both others."""
        for machine in self.machines.values():
            machine.wait_for_round(ROUNDS, RUN_S)
            wait_until(
                f"two others remembered on {machine.host.name}: {machine.tail()}",
                lambda machine=machine: machine.status().get("n_peers") == 2,  # type: ignore[misc]
                START_S,
            )

    def ask_the_doctor(self) -> list[str]:
        """Return what the doctor finds on each host while the peers are serving."""

        def ask(name: str) -> str:
            return self[name].learnae("doctor", self.charter(name), "--home", self[name].home)

        with ThreadPoolExecutor(len(NAMES)) as pool:
            return list(pool.map(ask, NAMES))

    def stop(self) -> dict[str, dict[str, Any]]:
        """Stop all peers and return what they say at last."""
        for machine in self.machines.values():
            machine.stop_peer()
        return {name: machine.status() for name, machine in self.machines.items()}


def longest_stop(machine: Machine) -> float:
    """Return for how many rounds' time the peer has not trained between two rounds, at most.

    What a busy machine adds to the training itself does not count, and neither does the time
    while the peer was dead.
    """
    rounds = machine.rounds()
    stops = [
        late["time"] - early["time"] - late["seconds"]
        for early, late in pairwise(rounds)
        if not machine.was_dead(early["time"], late["time"])
    ]
    return max(stops) / statistics.median(row["seconds"] for row in rounds)


def disturb(swarm: Swarm, invite: str) -> None:
    """Come late, cut, and kill, while the run goes on."""
    anna, ben, cara = swarm.machines.values()
    anna.wait_for_round(ROUNDS // 8, RUN_S)
    swarm.join("cara", invite)
    wait_until(f"cara trains: {cara.tail()}", lambda: len(cara.rounds()) >= 2, RUN_S)
    began = anna.round
    swarm.network.cut("anna")
    anna.wait_for_round(began + 3, RUN_S)
    ben.kill_daemon()
    cara.kill_peer()
    swarm.join("cara", invite)
    anna.wait_for_round(began + 8, RUN_S)
    ben.learnae("ipfs", "up", swarm.charter("ben"), timeout_s=START_S)
    anna.wait_for_round(began + THIRD, RUN_S)
    swarm.network.mend("anna")


@pytest.mark.deadline(600)
def test_what_breaks_holds_up_nobody_else(tmp_path: Path) -> None:
    need_kubo()
    with Network(NAMES, BAD, seed=1) as calm_network, Network(NAMES, BAD, seed=2) as bad_network:
        calm, bad = Swarm(calm_network, tmp_path / "calm"), Swarm(bad_network, tmp_path / "bad")
        invites = [swarm.create() for swarm in (calm, bad)]
        calm.join("ben", invites[0])
        calm.join("cara", invites[0])
        bad.join("ben", invites[1])
        disturb(bad, invites[1])
        calm.finish()
        bad.finish()
        findings = bad.ask_the_doctor()
        undisturbed, disturbed = calm.stop(), bad.stop()

    goal = statistics.mean(status["accuracy"] for status in undisturbed.values())
    for name, status in disturbed.items():
        machine = bad[name]
        stop = longest_stop(machine)
        print(
            f"{name}: {status['accuracy']:.4f} against {goal:.4f}, longest stop {stop:.2f} rounds"
        )
        assert status["accuracy"] > goal - SLACK
        assert stop < 1.0
        # Nothing is lost: no round, no model on its way, and nobody's last one.
        numbers = {row["round"] for row in machine.rounds()}
        assert numbers == set(range(min(numbers), ROUNDS + 1))
        assert status["rejected"] == 0
    assert min(row["round"] for row in bad["cara"].rounds()) > 1, "adopted, not begun anew"
    for text in findings:
        assert "nothing is wrong" in text and "2 heard" in text, text
