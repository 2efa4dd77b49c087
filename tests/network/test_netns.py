"""The hosts and the wire under the other tests: as bad as told, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from netns import Link, Network, need_namespaces

TESTS = Path(__file__).resolve().parent.parent
LEAVE_S = 20.0

# Prints the seconds from connecting to the answer, for a number of bytes to an address.
SEND = """
import socket, sys, time
address, n = sys.argv[1], int(sys.argv[2])
began = time.monotonic()
with socket.create_connection((address, 4001), timeout=30) as connection:
    connected = time.monotonic()
    connection.sendall(bytes(n))
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(2) == b"ok"
print(connected - began, time.monotonic() - connected)
"""
RECEIVE = """
import socket
with socket.create_server(("0.0.0.0", 4001)) as listener:
    while True:
        with listener.accept()[0] as connection:
            while connection.recv(65536):
                pass
            connection.sendall(b"ok")
"""


def send(network: Network, n: int) -> tuple[float, float]:
    """Send `n` bytes from a to b; return the seconds for connecting and for sending."""
    command = [sys.executable, "-c", SEND, network["b"].address, str(n)]
    seconds = network["a"].run(command).stdout.split()
    return float(seconds[0]), float(seconds[1])


def receive(network: Network) -> None:
    """Start b's listener and wait until it listens."""
    process = network["b"].start([sys.executable, "-c", RECEIVE])
    while "0.0.0.0:4001" not in network["b"].listening():
        assert process.poll() is None


def test_a_link_is_as_slow_as_told() -> None:
    with Network(["a", "b"], Link(rate_bps=20e6, delay_s=0.04)) as network:
        receive(network)
        connecting, sending = send(network, 1_000_000)
        print(f"connected in {connecting:.3f} s, 1 MB in {sending:.3f} s")
        assert connecting >= 0.08
        assert sending >= 0.4, "8 Mbit at 20 Mbit/s"
        flows = network.flows()
        assert flows[f"tcp {network['b'].address}:4001"] > 600
        assert set(flows) == {
            f"{what} {host.address}{port}"
            for host in network.hosts.values()
            for what, port in (("arp", ""), ("tcp", ":4001"))
        }


def test_a_lossy_link_loses_and_tcp_mends() -> None:
    with Network(["a", "b"], Link(rate_bps=1e8, loss=0.05)) as network:
        receive(network)
        send(network, 1_000_000)
        n_packets = sum(network.flows().values())
        n_dropped = sum(network.dropped().values())
        assert 0.02 < n_dropped / n_packets < 0.1


def test_a_cut_link_carries_nothing() -> None:
    with Network(["a", "b"]) as network:
        receive(network)
        send(network, 1000)
        network.cut("b")
        command = [sys.executable, "-c", SEND.replace("timeout=30", "timeout=0.5")]
        command += [network["b"].address, "10"]
        assert "TimeoutError" in network["a"].run(command, check=False).stderr
        network.mend("b")
        send(network, 1000)


def test_what_goes_elsewhere_is_seen() -> None:
    with Network(["a"]) as network:
        code = 'import socket; socket.socket(2, 2).sendto(b"x", ("203.0.113.7", 53))'
        network["a"].run([sys.executable, "-c", code])
        assert set(network.flows()) == {"arp 10.77.0.254"}


def test_nothing_is_left_after_kill_9() -> None:
    need_namespaces()
    code = """
import json, sys
from netns import Network
network = Network(["a", "b"])
daemon = network["a"].run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo started"])
network["b"].start(["sleep", "1000"])
pids = [host.pid for host in network.hosts.values()] + [network._wire.pid]
pids += [process.pid for host in network.hosts.values() for process in host.processes()]
print(json.dumps(pids), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    ) as process:
        assert process.stdout is not None
        pids = json.loads(process.stdout.readline())
        assert len(pids) == 5
        processes = [psutil.Process(pid) for pid in pids]
        process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=LEAVE_S)
    assert not alive


def test_without_rights_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_REQUIRE_ALL", "0")
    monkeypatch.setenv("PATH", "/nonexistent")
    from netns import _obstacle

    _obstacle.cache_clear()
    with pytest.raises(pytest.skip.Exception, match="apt install iproute2"):
        need_namespaces()
    _obstacle.cache_clear()
