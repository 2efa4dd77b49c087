"""``learnae ipfs``: a daemon is started, described, refused when it will not do, and stopped."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kubo import Kubos, need_kubo
from learnae.cli import main
from learnae.node.kubo import LOOPBACK, binary_version, find_binary, inspect_daemon, stop_daemon
from learnae.node.swarmkey import create_swarm_key

CHARTER = """
[swarm]
name = "commands"
seed = 1
[data]
label = "class"
columns = ["a"]
classes = ["x", "y"]
"""


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need_kubo()
    folder = tmp_path_factory.mktemp("swarm")
    (folder / "swarm.toml").write_text(CHARTER)
    create_swarm_key(folder / "swarm.key")
    yield folder
    stop_daemon(folder / "repo")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ipfs", *map(str, arguments)])


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.output.count("\n") == 1
    return result.output


def test_up_status_down(swarm: Path) -> None:
    charter, repo = swarm / "swarm.toml", swarm / "repo"
    up = ("up", charter, "--repo", repo, "--listen", LOOPBACK)
    first = run(*up)
    assert first.exit_code == 0, first.output
    assert "private network" in first.output
    assert f"--transport ipfs:{repo}" in first.output
    again = run(*up)
    assert again.output.splitlines()[0] == first.output.splitlines()[0]
    status = json.loads(run("status", "--repo", repo, "--json").output)
    assert status["running"] and status["private"] and status["pubsub"]
    assert all(address.startswith("/ip4/127.0.0.1/") for address in status["addresses"])
    assert "private network" in run("up", charter, "--api", status["api"]).output
    down = run("down", "--repo", repo)
    assert down.exit_code == 0 and "stopped" in down.output
    assert "no daemon runs" in run("down", "--repo", repo).output
    assert "no daemon runs" in run("status", "--repo", repo).output
    assert not inspect_daemon(str(repo)).running


def test_the_port_stays(swarm: Path) -> None:
    """Invites name it."""
    found = []
    for _ in range(2):
        run("up", swarm / "swarm.toml", "--repo", swarm / "repo")
        found.append(inspect_daemon(str(swarm / "repo")).addresses)
        run("down", "--repo", swarm / "repo")
    assert found[0] == found[1] != ()


def test_a_daemon_that_runs_takes_up_what_is_new(swarm: Path) -> None:
    """`learnae invite` and the doctor say: listen elsewhere. It has to be done to be true."""
    charter, repo = swarm / "swarm.toml", swarm / "repo"
    run("up", charter, "--repo", repo, "--listen", LOOPBACK)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    up = ("up", charter, "--repo", repo, "--listen", f"/ip4/127.0.0.1/tcp/{port}")
    first = run(*up)
    assert first.exit_code == 0 and "started again" in first.output, first.output
    status = inspect_daemon(str(repo))
    assert [address.split("/p2p/")[0] for address in status.addresses] == [up[-1]]
    assert "started again" not in run(*up).output
    assert inspect_daemon(str(repo)) == status
    run("down", "--repo", repo)


def test_a_damaged_config(swarm: Path, tmp_path: Path) -> None:
    for number, content in enumerate(("{}", "[]", '{"Addresses": 1}', "{")):
        repo = tmp_path / f"repo-{number}"
        repo.mkdir()
        (repo / "config").write_text(content)
        shutil.copy(swarm / "repo" / "swarm.key", repo)
        line = refused("up", swarm / "swarm.toml", "--repo", repo)
        assert "damaged" in line and "remove" in line


def test_refused(swarm: Path, tmp_path: Path) -> None:
    charter = swarm / "swarm.toml"
    assert "learnae ipfs up" in refused("up", charter, "--api", "/ip4/127.0.0.1/tcp/1")
    keyless = tmp_path / "keyless.toml"
    keyless.write_text(CHARTER)
    assert "learnae invite" in refused("up", keyless, "--repo", tmp_path / "repo")
    other = tmp_path / "other.toml"
    other.write_text(CHARTER.replace("seed = 1", "seed = 2"))
    create_swarm_key(tmp_path / "other.key")
    assert "another private network" in refused("up", other, "--repo", swarm / "repo")
    assert "to listen at" in refused("up", charter, "--repo", swarm / "repo", "--listen", "x")
    assert "--peer" not in refused("up", charter, "--repo", swarm / "repo", "--peer", "/ip4/x")


def test_a_daemon_that_will_not_do(tmp_path_factory: pytest.TempPathFactory, swarm: Path) -> None:
    """Pubsub off, another network, the public network: each is refused with its cure."""
    kubos = Kubos(tmp_path_factory.mktemp("others"))
    try:
        other = kubos["other"]
        charter = swarm / "swarm.toml"
        assert "another private network" in refused("up", charter, "--api", other.api)
        other.stop()
        configure(other.repo, "--json", "Pubsub.Enabled", "false")
        other.start()
        assert "Pubsub.Enabled true" in refused("up", charter, "--api", other.api)
        other.stop()
        configure(other.repo, "--json", "Pubsub.Enabled", "true")
        (other.repo / "swarm.key").unlink()
        other.start()
        assert "--public" in refused("up", charter, "--api", other.api)
        accepted = run("up", charter, "--api", other.api, "--public")
        assert accepted.exit_code == 0 and "public network" in accepted.output
    finally:
        kubos.close()


def configure(repo: Path, *arguments: str) -> None:
    command = [find_binary(), "--repo-dir", repo, "config", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def test_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swarm: Path) -> None:
    assert binary_version(need_kubo()) >= (0, 43, 0)
    old = tmp_path / "ipfs"
    old.write_text("#!/bin/sh\necho 0.29.0\n")
    old.chmod(0o755)
    monkeypatch.setenv("LEARNAE_KUBO", str(old))
    up = ("up", swarm / "swarm.toml", "--repo", tmp_path / "repo")
    assert "Kubo 0.29.0, at least 0.43.0" in refused(*up)
    monkeypatch.setenv("LEARNAE_KUBO", str(tmp_path / "none"))
    assert "make kubo" in refused(*up)
