"""Daemons come and go: started twice, too busy to answer, and files that outlive them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kubo import SWARM_ID, SWARM_KEY, Kubo, Kubos, need_kubo
from learnae.cli.demo.daemons import TIED
from learnae.errors import UsageError
from learnae.node.access import Access, open_swarm_transport
from learnae.node.kubo import (
    LOOPBACK,
    Daemon,
    RepoOptions,
    init_repo,
    inspect_daemon,
    is_repo,
    start_daemon,
    stop_daemon,
)
from learnae.node.kubo import daemon as module
from learnae.node.kubo.repo import network_of
from learnae.transports.ipfs import IpfsTransport
from learnae.transports.keys import kubo_swarm_key

DEADLINE_S = 20.0


def test_peers_that_share_a_daemon_start_it_at_the_same_time(kubos: Kubos) -> None:
    kubo = kubos["ann"]
    kubo.kill()
    gate = threading.Barrier(4)

    def start() -> Daemon:
        gate.wait(DEADLINE_S)
        return start_daemon(kubo.repo)

    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(start) for _ in range(4)]]
    assert len({daemon.pid for daemon in found}) == 1
    assert kubo.rpc().call("id")[0]["ID"] == kubo.daemon.peer_id


def test_a_daemon_too_busy_to_answer_is_not_started_again(
    kubos: Kubos, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubo = kubos["ann"]
    before = start_daemon(kubo.repo)
    silent = iter([True])
    really = module._running
    monkeypatch.setattr(
        module, "_running", lambda repo: None if next(silent, False) else really(repo)
    )
    assert start_daemon(kubo.repo) == before
    assert kubo.rpc().call("id")[0]["ID"] == before.peer_id


def test_what_a_killed_daemon_left_behind_leads_to_no_other(kubos: Kubos) -> None:
    """Its port and its process number may be another swarm's daemon's by now."""
    other, dead = kubos["ann"], kubos["bob"]
    start_daemon(other.repo)
    running = inspect_daemon(str(other.repo))
    dead.kill()
    (dead.repo / "api").write_text(running.api or "")
    (dead.repo / module.PID).write_text(f"{running.pid}\n")
    found = inspect_daemon(str(dead.repo))
    assert (found.running, found.pid) == (False, None)
    assert not stop_daemon(dead.repo)
    started = start_daemon(dead.repo)
    assert started.peer_id == dead.daemon.peer_id
    assert inspect_daemon(str(other.repo)).pid == running.pid
    dead.daemon = started


def test_a_daemon_that_somebody_else_started_is_gone_when_stopped(kubos: Kubos) -> None:
    kubo = kubos["ann"]
    pid = start_daemon(kubo.repo).pid
    (kubo.repo / module.PID).unlink()
    assert stop_daemon(kubo.repo)
    # Kubo's collection (--enable-gc) hears of signals only: repo and ports are free, but the
    # process would wait for it for ever.
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    assert start_daemon(kubo.repo).pid != pid
    assert stop_daemon(kubo.repo)
    assert not stop_daemon(kubo.repo)


def test_a_daemon_that_a_peer_listens_to_is_stopped(tmp_path: Path) -> None:
    need_kubo()
    kubo = Kubo("heard", tmp_path / "repo")
    transport = IpfsTransport(str(kubo.repo), "ann")
    subscription = transport.subscribe("anything")
    cid = transport.put(b"kept")
    assert stop_daemon(kubo.repo)
    assert not inspect_daemon(str(kubo.repo)).running
    kubo.start()
    assert transport.owned() == [cid]
    assert transport.get(cid, 10, 10.0) == b"kept"
    subscription.close()
    transport.close()
    kubo.kill()


@pytest.mark.parametrize("step", ["_settle_key", "_adapt", "_write_private"])
def test_a_repo_that_was_left_unfinished_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Ctrl-C in the first `learnae ipfs up`: no daemon may run on it without the swarm's key."""
    need_kubo()
    repo, key = tmp_path / "repo", kubo_swarm_key(SWARM_KEY, SWARM_ID)
    options = RepoOptions(swarm_key_text=key, listen=(LOOPBACK,))

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"learnae.node.kubo.repo.{step}", interrupted)
        init_repo(repo, options)
    assert not is_repo(repo)
    assert init_repo(repo, options)
    assert is_repo(repo) and network_of(repo) == key
    try:
        assert start_daemon(repo).addresses[0].startswith("/ip4/127.0.0.1/tcp/")
    finally:
        stop_daemon(repo)


def test_a_port_that_another_program_has(kubos: Kubos, tmp_path: Path) -> None:
    """It was chosen once and for good: the user has to be told how to choose again."""
    key = kubo_swarm_key(SWARM_KEY, SWARM_ID)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        listen = f"/ip4/127.0.0.1/tcp/{busy.getsockname()[1]}"
        init_repo(tmp_path / "repo", RepoOptions(swarm_key_text=key, listen=(listen,)))
        with pytest.raises(UsageError, match=r"address already in use.*--listen.*tcp/PORT"):
            start_daemon(tmp_path / "repo")
    assert inspect_daemon(str(tmp_path / "repo")).pid is None


def test_a_network_that_cannot_be_seen_is_warned_of(
    kubos: Kubos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon of a container names a folder that is not there, or is another daemon's here."""
    kubo, other = kubos["ann"], kubos["bob"]
    api = start_daemon(kubo.repo).api
    warned: list[str] = []
    monkeypatch.setattr("learnae.node.access.log.warning", lambda line, *_: warned.append(line))
    access = Access(SWARM_ID, SWARM_KEY)
    open_swarm_transport(f"ipfs:{api}", "ann", access).close()
    assert warned == []
    really = module._is_of
    monkeypatch.setattr(module, "_is_of", lambda _, peer_id: really(other.repo, peer_id))
    assert inspect_daemon(api).private is None
    open_swarm_transport(f"ipfs:{api}", "ann", access).close()
    (line,) = warned
    assert "whether its network is private" in line


def test_the_shell_of_the_demo_ends_with_its_daemon_and_the_daemon_with_it() -> None:
    def start(*daemon: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-c", TIED, "sh", *daemon], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    with start("sh", "-c", "exit 3") as failed:
        failed.wait(DEADLINE_S)
    with start("sh", "-c", "echo here; exec sleep 1000") as running:
        assert running.stdin is not None and running.stdout is not None
        assert running.stdout.readline() == b"here\n"
        assert running.poll() is None
        running.stdin.close()
        running.wait(DEADLINE_S)
        assert running.stdout.read() == b"", "the daemon has closed its end"
