"""`learnae status`: folders of peers, and what a swarm has announced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from learnae.cli import main
from learnae.cli.statusfile import is_running, read_rounds, read_status
from learnae.swarm.announcement import Announcement, Kind, encode_announcement
from learnae.swarm.charter import Charter, dump_charter
from learnae.swarm.trust import Identity
from learnae.transports import DirectoryTransport

SAID: dict[str, Any] = {
    "peer_id": "a" * 52,
    "role": "trainer",
    "state": "training",
    "pid": os.getpid(),
    "round": 7,
    "rounds": 250,
    "loss": 0.25,
    "accuracy": None,
    "n_peers": 4,
    "n_merged": 5,
    "models_merged": 31,
    "bytes_sent": 12_345,
    "bytes_received": 1,
    "rejected": 0,
    "adopted_round": None,
    "resumed_round": 3,
    "cpu_seconds_per_round": 0.01,
}


def status(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["status", *map(str, arguments)])


def make_home(path: Path, **changed: Any) -> Path:
    path.mkdir()
    said = {**SAID, "updated_at": time.time(), **changed}
    (path / "status.json").write_text(json.dumps(said))
    return path


def test_one_home_as_json(tmp_path: Path) -> None:
    result = status(make_home(tmp_path / "one"), "--json")
    assert result.exit_code == 0, result.output
    (home,) = json.loads(result.stdout)["homes"]
    assert {key: home[key] for key in SAID} == SAID
    assert home["running"] is True
    assert 0 <= home["age_s"] < 60


def test_homes_as_a_table(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    one = make_home(tmp_path / "one")
    two = make_home(tmp_path / "two", pid=gone.pid, updated_at=time.time() - 40)
    result = status(one, two)
    assert result.exit_code == 0, result.output
    assert "7/250" in result.output and "0.2500" in result.output and "12.3 kB" in result.output
    assert "dead for 40 s" in result.output
    assert "a" * 52 in result.output


def test_a_folder_in_which_no_peer_ran(tmp_path: Path) -> None:
    for path, says in ((tmp_path, "no peer has run"), (tmp_path / "none", "no such folder")):
        result = status(path)
        assert result.exit_code == 1
        assert says in result.stderr


def test_without_arguments_it_lists_this_users_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    empty = f"no peer folder in {tmp_path / 'learnae'}; name the folders: learnae status home-1 ..."
    assert status().output == empty + "\n"
    home = tmp_path / "learnae" / "0123abcd" / "peer"
    home.parent.mkdir(parents=True)
    make_home(home)
    assert [found["home"] for found in json.loads(status("--json").stdout)["homes"]] == [str(home)]


def announce(
    folder: Path, charter: Charter, identity: Identity, sequence: int, round_: int
) -> None:
    transport = DirectoryTransport(folder, identity.peer_id)
    announcement = Announcement(
        swarm_id=charter.swarm_id,
        peer_id=identity.peer_id,
        sequence=sequence,
        previous=None if sequence == 1 else b"\x01\x71\x12\x20" + bytes(32),
        kind=Kind.HELLO,
        round=round_,
        payload=None,
        schema_digest=bytes(32),
        codec="i8",
        samples=123,
        loss=None,
        addresses=(),
        time=time.time() - 30,
    )
    transport.publish(charter.topic, encode_announcement(announcement, identity))
    transport.close()


def test_what_a_swarm_has_announced(tmp_path: Path) -> None:
    charter = Charter(name="ours")
    path = tmp_path / "swarm.toml"
    path.write_text(dump_charter(charter))
    shared = tmp_path / "shared"
    one, two = Identity.generate(), Identity.generate()
    announce(shared, charter, one, 1, 3)
    announce(shared, charter, one, 2, 4)
    announce(shared, charter, two, 1, 9)
    noise = DirectoryTransport(shared, "noise")
    noise.publish(charter.topic, b"anything")
    noise.close()
    before = sorted(shared.rglob("*"))
    result = status("--charter", path, "--transport", f"directory:{shared}", "--json")
    assert result.exit_code == 0, result.output
    swarm = json.loads(result.stdout)["swarm"]
    assert {peer["peer_id"]: peer["round"] for peer in swarm["peers"]} == {
        one.peer_id: 4,
        two.peer_id: 9,
    }
    assert all(25 < peer["age_s"] < 90 and peer["samples"] == 123 for peer in swarm["peers"])
    assert swarm["refused"] == 1
    assert sorted(shared.rglob("*")) == before, "looking leaves no trace"
    table = status("--charter", path, "--transport", f"directory:{shared}")
    assert one.peer_id[:8] in table.output and "not valid" in table.output


@pytest.mark.parametrize(
    ("transport", "says"),
    [("directory:{}/none", "not a folder"), ("director:x", "directory:PATH"), ("x", "not known")],
)
def test_a_transport_that_is_not_there(tmp_path: Path, transport: str, says: str) -> None:
    path = tmp_path / "swarm.toml"
    path.write_text(dump_charter(Charter(name="ours")))
    result = status("--charter", path, "--transport", transport.format(tmp_path))
    assert result.exit_code == 1
    assert says in result.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"round": "x", "loss": 1e999, "pid": true, "peer_id": 3}'],
)
def test_a_status_file_of_any_content_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    (tmp_path / "rounds.jsonl").write_bytes(content + b"\n" + content)
    found = read_status(tmp_path)
    assert found is None or (found.round, found.loss, found.pid, found.peer_id) == (
        0,
        None,
        None,
        "",
    )
    assert read_rounds(tmp_path) == []


def test_rounds_of_a_killed_peer_end_in_half_a_line(tmp_path: Path) -> None:
    line = {"round": 1, "time": 2.5, "seconds": 0.1, "loss": 0.5, "accuracy": None}
    (tmp_path / "rounds.jsonl").write_text(json.dumps(line) + '\n{"round": 2, "ti')
    (found,) = read_rounds(tmp_path)
    assert (found.round, found.time, found.seconds, found.accuracy) == (1, 2.5, 0.1, None)


def test_a_stopped_peer_does_not_run(tmp_path: Path) -> None:
    found = read_status(make_home(tmp_path / "one", state="stopped"))
    assert found is not None and not is_running(found)
