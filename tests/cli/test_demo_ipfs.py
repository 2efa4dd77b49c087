"""The demo over IPFS: real daemons, a private network, and no packet beyond this machine."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from netns import Host, Network
from waiting import wait_until

from kubo import need_kubo

ENDS_S = 20.0


def daemons_of(host: Host) -> list[psutil.Process]:
    """Return the Kubo daemons that run on a host."""
    found = []
    for process in host.processes():
        try:
            if process.name() == "ipfs":
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.deadline(400)
def test_the_demo_stays_on_loopback(tmp_path: Path) -> None:
    """On a host of its own, where every packet that would leave it is counted."""
    need_kubo()
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "learnae", "demo", "--transport", "ipfs", "--peers", "3"),
        *("--rounds", "40", "--no-faults", "--keep-files", "--out", str(out)),
    ]
    seen: set[int] = set()
    listening: set[str] = set()
    with Network(["here"]) as network:
        host = network["here"]
        demo = host.start(command, log=tmp_path / "log")
        while demo.poll() is None:
            seen |= {process.pid for process in daemons_of(host)}
            listening |= set(host.listening())
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.wait(0.1)
        assert demo.returncode == 0, (tmp_path / "log").read_text()
        wait_until("no daemon outlives the demo", lambda: not daemons_of(host), ENDS_S)
        assert network.flows() == {}, "something was sent beyond this machine"
    assert len(seen) >= 3  # `ipfs init` runs under the same name
    assert listening and {place.rpartition(":")[0] for place in listening} == {"127.0.0.1"}
    summary = json.loads((out / "summary.json").read_text())
    accuracy = summary["accuracy"]
    assert summary["rounds_done"] == [40] * 3
    assert min(summary["models_merged"]) > 40
    assert sum(accuracy["swarm"]) > sum(accuracy["isolated"])
    # Everything that came from the network was sealed by a member, and nothing was refused.
    assert summary["rejected"] == [0] * 3


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.deadline(300)
def test_no_daemon_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    need_kubo()
    command = [
        *(sys.executable, "-m", "learnae", "demo", "--transport", "ipfs", "--peers", "2"),
        *("--rounds", "400", "--no-faults", "--out", str(tmp_path / "out")),
    ]
    with open(tmp_path / "log", "wb") as log:
        demo = subprocess.Popen(command, stdout=log, stderr=log)
    daemons: list[int] = []

    def both_run() -> bool:
        assert demo.poll() is None, (tmp_path / "log").read_text()
        family = psutil.Process(demo.pid).children(recursive=True)
        daemons[:] = [p.pid for p in family if p.is_running() and p.name() == "ipfs"]
        return len(daemons) >= 2

    try:
        wait_until("two daemons run", both_run, 120)
    finally:
        demo.kill()
        demo.wait()
    wait_until("no daemon outlives the demo", lambda: not any(map(_lives, daemons)), ENDS_S)
