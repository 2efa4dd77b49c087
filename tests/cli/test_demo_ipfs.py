"""The demo over IPFS: real daemons, a private network, and no packet beyond this machine."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kubo import need_kubo

ENDS_S = 20.0


def sockets(family: list[psutil.Process]) -> set[tuple[str, str]]:
    """Return who of a family of processes talks, or listens for talk, to which other address."""
    found = set()
    for process in family:
        try:
            name, connections = process.name(), process.net_connections(kind="inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        for connection in connections:
            for address in (connection.laddr, connection.raddr):
                if address and not ipaddress.ip_address(address.ip).is_loopback:
                    found.add((name, address.ip))
    return found


def family_of(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.deadline(400)
def test_the_demo_stays_on_loopback(tmp_path: Path) -> None:
    need_kubo()
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "learnae", "demo", "--transport", "ipfs", "--peers", "3"),
        *("--rounds", "40", "--no-faults", "--keep-files", "--out", str(out), "--json"),
    ]
    seen: dict[int, str] = {}
    foreign: set[tuple[str, str]] = set()
    with open(tmp_path / "errors", "wb") as errors:
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        while demo.poll() is None:
            family = family_of(demo.pid)
            foreign |= sockets(family)
            for process in family:
                try:
                    seen.setdefault(process.pid, process.name())
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.1)  # a trace by samples: connections live for minutes
        assert demo.stdout is not None
        output = demo.stdout.read()
        demo.stdout.close()
    assert demo.returncode == 0, (tmp_path / "errors").read_text()
    assert list(seen.values()).count("ipfs") >= 3
    assert foreign == set()
    summary = json.loads(output)
    accuracy = summary["accuracy"]
    assert summary["rounds_done"] == [40] * 3
    assert min(summary["models_merged"]) > 40
    mean = sum(accuracy["swarm"]) / 3
    assert mean > sum(accuracy["isolated"]) / 3
    # Everything that came from the network was sealed by a member, and nothing was refused.
    assert summary["rejected"] == [0] * 3
    daemons = [pid for pid, name in seen.items() if name == "ipfs"]
    end = time.monotonic() + ENDS_S
    while any(psutil.pid_exists(pid) and _lives(pid) for pid in daemons):
        assert time.monotonic() < end, "a daemon outlives the demo"
        time.sleep(0.05)


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
    try:
        end = time.monotonic() + 120
        daemons: list[int] = []
        while len(daemons) < 2:
            assert demo.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            daemons = [p.pid for p in family_of(demo.pid) if p.name() == "ipfs"]
            time.sleep(0.05)
    finally:
        demo.kill()
        demo.wait()
    end = time.monotonic() + ENDS_S
    while any(psutil.pid_exists(pid) and _lives(pid) for pid in daemons):
        assert time.monotonic() < end, "a daemon outlives the demo"
        time.sleep(0.05)
