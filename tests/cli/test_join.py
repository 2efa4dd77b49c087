"""`learnae join`: a relay without JAX, default folders, and how a peer is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from learnae.cli import join
from learnae.cli.statusfile import PeerStatus, read_status
from learnae.swarm.charter import (
    Charter,
    DataSection,
    ModelSection,
    TrainingSection,
    dump_charter,
)

CHARTER = Charter(
    name="ours",
    model=ModelSection("mlp", {"hidden": [8]}),
    data=DataSection(label="kind", columns=("a", "b"), classes=("red", "blue")),
    training=TrainingSection(rounds=3, steps=2, batch=4),
)
# `None` in sys.modules makes every import of JAX fail, as if it were not installed.
WITHOUT_JAX = (
    "import sys; sys.modules.update(jax=None, jaxlib=None, optax=None)\n"
    "from learnae.cli import main; main(sys.argv[1:], prog_name='learnae')"
)


@pytest.fixture
def charter(tmp_path: Path) -> Path:
    path = tmp_path / "swarm.toml"
    path.write_text(dump_charter(CHARTER))
    (tmp_path / "mine.csv").write_text("a,b,kind\n1,2,red\n2,3,blue\n3,5,red\n")
    return path


def test_a_relay_needs_no_jax_and_lives_in_the_default_folder(charter: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(charter.parent / "data")}
    command = [sys.executable, "-c", WITHOUT_JAX]
    joined = subprocess.run(
        [*command, "join", str(charter), "--relay", "--stop-on-eof"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert joined.returncode == 0, joined.stderr
    assert joined.stderr == ""
    result = subprocess.run(
        [*command, "status", "--json"], capture_output=True, text=True, env=environment
    )
    (home,) = json.loads(result.stdout)["homes"]
    assert (home["role"], home["state"], home["running"]) == ("relay", "stopped", False)
    assert home["home"].startswith(str(charter.parent / "data"))
    assert len(home["peer_id"]) == 52


def test_a_trainer_without_jax_gets_one_line(charter: Path) -> None:
    result = subprocess.run(
        [*(sys.executable, "-c", WITHOUT_JAX, "join", str(charter)), "--data", "mine.csv"],
        capture_output=True,
        text=True,
        cwd=charter.parent,
        env={**os.environ, "XDG_DATA_HOME": str(charter.parent / "data")},
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "pip install jax optax" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_a_peer_say_goodbye(charter: Path, number: int) -> None:
    folder = charter.parent
    places = ["--home", "home", "--transport", "directory:shared", "--cache", "cache"]
    process = subprocess.Popen(
        [*(sys.executable, "-m", "learnae", "join", "swarm.toml", "--data", "mine.csv"), *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "serving" in line:  # it has done its rounds and would serve for ever
                break
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert errors == ""
    assert "stopped" in output
    found = json.loads((folder / "home" / "status.json").read_bytes())
    assert (found["state"], found["round"]) == ("stopped", 3)
    assert (folder / "home" / "checkpoint").is_file()


@pytest.mark.parametrize("role", ["trainer", "relay"])
def test_a_line_is_printed_once(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked = threading.Semaphore(0)
    states = iter(["starting", "starting", "serving", "serving", "serving"])

    def next_status(_home: Path) -> PeerStatus | None:
        looked.release()
        said = {"state": next(states, "stopped"), "role": role, "round": 3}
        (tmp_path / "status.json").write_text(json.dumps(said))
        return read_status(tmp_path) if said["state"] != "stopped" else None

    monkeypatch.setattr(join, "LINE_EVERY_S", 0.001)
    monkeypatch.setattr(join, "read_status", next_status)
    with join.line_reports(tmp_path):
        for _ in range(6):
            assert looked.acquire(timeout=60)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["starting", "serving"]
