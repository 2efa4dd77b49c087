"""``learnae doctor`` on real IPFS daemons: each seeded fault is named, with its cure."""

from __future__ import annotations

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli.test_mistakes import CHARTER
from click.testing import CliRunner

from kubo import Kubo, Kubos
from learnae.cli import main
from learnae.node.kubo import LOOPBACK, RepoOptions, init_repo, start_daemon, stop_daemon
from learnae.node.swarmkey import write_swarm_key
from learnae.swarm import dump_charter
from learnae.transports.ipfs import Rpc
from learnae.transports.keys import kubo_swarm_key

KEY = b"d" * 32
NETWORK = kubo_swarm_key(KEY, CHARTER.swarm_id)


@pytest.fixture
def charter(tmp_path: Path) -> Path:
    path = tmp_path / "swarm.toml"
    path.write_text(dump_charter(CHARTER))
    write_swarm_key(path.with_suffix(".key"), KEY)
    return path


def swarm_daemon(kubos: Kubos, name: str, options: RepoOptions) -> Kubo:
    """Return a daemon with a repo of its own kind, which the fixture stops."""
    if name in kubos._kubos:
        return kubos[name]
    made = Kubo.__new__(Kubo)
    made.name, made.repo = name, kubos.folder / name
    init_repo(made.repo, options)
    made.daemon = made.start()
    kubos._kubos[name] = made
    return made


def other_swarms(kubos: Kubos) -> Kubo:
    """Return a good daemon of another swarm."""
    network = kubo_swarm_key(b"e" * 32, CHARTER.swarm_id)
    return swarm_daemon(kubos, "other", RepoOptions(swarm_key_text=network, listen=(LOOPBACK,)))


def ask(charter: Path, address: str, *more: str) -> list[dict[str, str]]:
    options = ["--home", str(charter.parent / "home"), "--listen", "0", "--json", *more]
    done = CliRunner().invoke(main, ["doctor", str(charter), "--transport", address, *options])
    document: dict[str, Any] = json.loads(done.output)
    return list(document["findings"])


def fault(charter: Path, address: str) -> tuple[str, str]:
    """Return part and line of the first fault."""
    found = next(f for f in ask(charter, address) if f["verdict"] == "fault")
    assert "\n" not in found["line"]
    return found["part"], found["line"]


def test_a_healthy_daemon(kubos: Kubos, charter: Path) -> None:
    daemon = swarm_daemon(kubos, "good", RepoOptions(swarm_key_text=NETWORK, listen=(LOOPBACK,)))
    findings = ask(charter, daemon.transport)
    assert not [f for f in findings if f["verdict"] == "fault"], findings
    lines = {f["part"]: f["line"] for f in findings}
    assert "private network" in lines["daemon"] and "--peer" in lines["daemon"]
    assert "/p2p/" in lines["transport"] and "there and back" in lines["round trip"]
    pins = daemon.rpc().call("pin/ls", options={"names": "true"})[0].get("Keys") or {}
    assert not [pin for pin in pins.values() if pin["Name"].startswith("learnae/")]


def test_no_daemon(charter: Path) -> None:
    part, line = fault(charter, f"ipfs:{charter.parent / 'repo'}")
    assert part == "daemon" and "learnae ipfs up" in line


def test_something_else_answers(charter: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        part, line = fault(charter, f"ipfs:/ip4/127.0.0.1/tcp/{port}")
        assert part == "daemon" and "learnae ipfs up" in line
        listener.shutdown(socket.SHUT_RDWR)


def test_no_swarm_key(kubos: Kubos, charter: Path) -> None:
    charter.with_suffix(".key").unlink()
    part, line = fault(charter, other_swarms(kubos).transport)
    assert part == "transport" and "learnae invite" in line


def test_a_swarm_key_that_others_can_read(kubos: Kubos, charter: Path) -> None:
    charter.with_suffix(".key").chmod(0o644)
    part, line = fault(charter, other_swarms(kubos).transport)
    assert part == "daemon" and "chmod 600" in line


def test_the_daemon_of_another_swarm(kubos: Kubos, charter: Path) -> None:
    part, line = fault(charter, other_swarms(kubos).transport)
    assert part == "daemon" and "another private network" in line


def test_the_public_network(kubos: Kubos, charter: Path) -> None:
    # The option that makes a daemon public; on loopback, and without a bootstrap list.
    options = RepoOptions(swarm_key_text=None, listen=(LOOPBACK,))
    address = swarm_daemon(kubos, "public", options).transport
    part, line = fault(charter, address)
    assert part == "daemon" and "public network" in line and "learnae ipfs up" in line
    # Who has joined with --public wants to hear of other faults.
    findings = ask(charter, address, "--public")
    assert not [f for f in findings if f["verdict"] == "fault"], findings
    assert "public network" in {f["part"]: f["line"] for f in findings}["daemon"]


def test_pubsub_off(kubos: Kubos, charter: Path) -> None:
    options = RepoOptions(swarm_key_text=NETWORK, listen=(LOOPBACK,))
    daemon = swarm_daemon(kubos, "mute", options)
    daemon.rpc().call("config", "Pubsub.Enabled", "false", options={"bool": "true"})
    stop_daemon(daemon.repo)
    daemon.daemon = start_daemon(daemon.repo)
    part, line = fault(charter, daemon.transport)
    assert part == "daemon" and "Pubsub.Enabled true" in line


def test_nobody_can_be_reached(kubos: Kubos, charter: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
    gone = f"/ip4/127.0.0.1/tcp/{port}/p2p/12D3KooWNe7DVUaRhxFdrUwbVSMfUx3TXMuBVkuAwnUvmQhN35es"
    options = RepoOptions(swarm_key_text=NETWORK, listen=(LOOPBACK,), peers=(gone,))
    part, line = fault(charter, swarm_daemon(kubos, "alone", options).transport)
    assert part == "daemon" and f"/tcp/{port}" in line and "firewall" in line


class _Old(BaseHTTPRequestHandler):
    """Passes on to a real daemon, and gives out to be an older one."""

    api: str

    def do_POST(self) -> None:
        command = re.sub(r"^/api/v0/|\?.*$", "", self.path)
        body = json.dumps(Rpc(self.api).call(command)[0])
        if command == "version":
            body = json.dumps({**json.loads(body), "Version": "0.29.0"})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_an_old_daemon(kubos: Kubos, charter: Path) -> None:
    _Old.api = other_swarms(kubos).api
    with ThreadingHTTPServer(("127.0.0.1", 0), _Old) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        part, line = fault(charter, f"ipfs:/ip4/127.0.0.1/tcp/{proxy.server_port}")
        proxy.shutdown()
        thread.join()
    assert part == "daemon" and "0.29.0" in line and "make kubo" in line


def test_a_repo_that_cannot_be_written(kubos: Kubos, charter: Path) -> None:
    options = RepoOptions(swarm_key_text=NETWORK, listen=(LOOPBACK,))
    daemon = swarm_daemon(kubos, "full", options)
    blocks = daemon.repo / "blocks"
    blocks.rename(daemon.repo / "blocks.moved")
    blocks.write_bytes(b"in the way")
    try:
        part, line = fault(charter, daemon.transport)
    finally:
        blocks.unlink()
        (daemon.repo / "blocks.moved").rename(blocks)
    assert part == "round trip" and str(daemon.repo) in line
