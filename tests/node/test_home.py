"""A peer's folder: what is kept, what is refused, and what each mistake says."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from learnae.errors import (
    CharterError,
    CheckpointError,
    IdentityError,
    LearnaeError,
    StateError,
)
from learnae.node.checkpoint import Checkpoint, encode_checkpoint
from learnae.node.home import Home

SWARM, OTHER = b"\xab" * 32, b"\xcd" * 32
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "home"


def checkpoint(number: int, swarm_id: bytes = SWARM) -> Checkpoint:
    return Checkpoint(swarm_id, number, b"params", b"peer", {"x": np.arange(number + 1)}, 1.0)


def failure(kind: type[LearnaeError], folder: Path, swarm_id: bytes = SWARM) -> str:
    with pytest.raises(kind) as caught:
        Home.open(folder, swarm_id=swarm_id)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


def test_first_time_and_again(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        peer_id = home.identity.peer_id
        assert home.load_head() is None
        assert home.load_checkpoint() is None
        assert home.damage is None
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with Home.open(str(folder), swarm_id=SWARM) as home:
        assert home.identity.peer_id == peer_id
    with Home.open(folder.with_name("other"), swarm_id=SWARM) as home:
        assert home.identity.peer_id != peer_id


def test_head_status_rounds(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        for head in (b"first", b"\0" * 1000):
            home.save_head(head)
            assert home.load_head() == head
        home.write_status({"round": 3, "loss": None})
        home.append_rounds([])
        home.append_rounds(["a", "b"])
        home.append_rounds(["c"])
    assert json.loads((folder / "status.json").read_text()) == {"round": 3, "loss": None}
    assert (folder / "rounds.jsonl").read_text() == "a\nb\nc\n"
    (folder / "head").write_bytes(b"")  # what a power cut may leave
    with Home.open(folder, swarm_id=SWARM) as home:
        assert home.load_head() is None


def test_half_a_line_of_the_log_is_not_glued_to_the_next(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        (folder / "rounds.jsonl").write_text('{"round": 1}\n{"rou')
        home.append_rounds(['{"round": 2}'])
    assert (folder / "rounds.jsonl").read_text() == '{"round": 1}\n{"rou\n{"round": 2}\n'


def test_newest_checkpoint_counts_and_one_before_is_kept(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        for number in range(4):
            home.save_checkpoint(checkpoint(number))
            loaded = home.load_checkpoint()
            assert loaded is not None
            assert loaded.round == number
            assert np.array_equal(loaded.extra["x"], np.arange(number + 1))
    assert (folder / "checkpoint.previous").read_bytes() == encode_checkpoint(checkpoint(2))


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_previous_checkpoint_is_the_fallback(folder: Path, damage: bytes | None) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        home.save_checkpoint(checkpoint(1))
        home.save_checkpoint(checkpoint(2))
        if damage is None:
            (folder / "checkpoint").unlink()  # killed between two renames
        else:
            (folder / "checkpoint").write_bytes(damage)
        loaded = home.load_checkpoint()
        assert loaded is not None
        assert loaded.round == 1
        assert (home.damage is None) == (damage is None)
        home.save_checkpoint(checkpoint(3))
        loaded = home.load_checkpoint()
        assert loaded is not None
        assert loaded.round == 3
        assert home.damage is None


def test_all_checkpoints_damaged(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        home.save_checkpoint(checkpoint(1))
        home.save_checkpoint(checkpoint(2))
        (folder / "checkpoint").write_bytes(b"garbage")
        (folder / "checkpoint.previous").write_bytes(encode_checkpoint(checkpoint(1))[:-1])
        with pytest.raises(CheckpointError, match=r"too few.*delete .*checkpoint\*") as caught:
            home.load_checkpoint()
        assert "\n" not in str(caught.value)


def test_checkpoint_of_another_swarm(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        home.save_checkpoint(checkpoint(1, swarm_id=OTHER))
        with pytest.raises(CheckpointError, match="another swarm"):
            home.load_checkpoint()


def test_home_of_another_swarm(folder: Path) -> None:
    Home.open(folder, swarm_id=SWARM).close()
    line = failure(CharterError, folder, OTHER)
    assert "abababab" in line
    assert "cdcdcdcd" in line
    assert "--home" in line
    Home.open(folder, swarm_id=SWARM).close()  # and nothing stays locked


def test_in_use_by_this_process(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM):
        assert "close() it first" in failure(StateError, folder)
    Home.open(folder, swarm_id=SWARM).close()


HOLD = """
import sys
from learnae.node.home import Home
home = Home.open(sys.argv[1], swarm_id=b"\\xab" * 32)
print("ready", flush=True)
sys.stdin.read()
"""


def test_in_use_by_another_process_until_it_is_killed(folder: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        line = failure(StateError, folder)
        assert f"in use by process {other.pid}" in line
        assert "--home" in line
        other.kill()
        other.wait()
        Home.open(folder, swarm_id=SWARM).close()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o777])
def test_key_readable_by_others(folder: Path, mode: int) -> None:
    Home.open(folder, swarm_id=SWARM).close()
    (folder / "key").chmod(mode)
    assert failure(IdentityError, folder).endswith(f"chmod 600 {folder / 'key'}")
    (folder / "key").chmod(0o600)
    Home.open(folder, swarm_id=SWARM).close()


def test_key_behind_a_link(folder: Path) -> None:
    Home.open(folder, swarm_id=SWARM).close()
    (folder / "key").rename(folder / "elsewhere")
    (folder / "key").symlink_to(folder / "elsewhere")
    assert "replace the symbolic link" in failure(IdentityError, folder)


@pytest.mark.parametrize("text", [b"", b"\xff" * 64, b"zz" * 32, b"ab" * 31, b"ab" * 33, b"a" * 99])
def test_key_that_is_none(folder: Path, text: bytes) -> None:
    Home.open(folder, swarm_id=SWARM).close()
    (folder / "key").write_bytes(text)
    assert "restore it from a copy, or delete it" in failure(IdentityError, folder)
    assert (folder / "key").read_bytes() == text


def test_key_that_is_no_file(folder: Path) -> None:
    Home.open(folder, swarm_id=SWARM).close()
    (folder / "key").unlink()
    os.mkfifo(folder / "key", 0o600)
    failure(IdentityError, folder)


def test_large_and_special_files_in_the_way(folder: Path) -> None:
    with Home.open(folder, swarm_id=SWARM) as home:
        (folder / "head").write_bytes(bytes(1 << 17))
        with pytest.raises(StateError, match="head is no file of a peer: delete it"):
            home.load_head()
        (folder / "head").unlink()
        os.mkfifo(folder / "head")
        with pytest.raises(StateError, match="head is no file of a peer: delete it"):
            home.load_head()
        home.save_checkpoint(checkpoint(1))
        (folder / "checkpoint.previous").mkdir()
        with pytest.raises(StateError, match=r"checkpoint.*remove the folder"):
            home.save_checkpoint(checkpoint(2))
        assert home.load_checkpoint() is not None
        assert not [name for name in os.listdir(folder) if "partial" in name]


def test_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "remove the file that is in the way" in failure(StateError, tmp_path / "file")
    assert "remove the file" in failure(StateError, tmp_path / "file" / "below")


def test_without_permission(tmp_path: Path) -> None:
    root = os.geteuid() == 0
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent) if root else ():
        parent.chmod(0o755)
    (tmp_path / "no").mkdir(mode=0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        line = failure(StateError, tmp_path / "no" / "home")
        assert "permission denied" in line
        assert "chmod" in line
        failure(StateError, tmp_path / "no")
    finally:
        if root:
            os.seteuid(0)


def test_partial_files_of_the_killed_are_removed(folder: Path) -> None:
    Home.open(folder, swarm_id=SWARM).close()
    (folder / ".partial-1-1-1").write_bytes(b"x")
    Home.open(folder, swarm_id=SWARM).close()
    assert not (folder / ".partial-1-1-1").exists()


LIMITED = """
import resource, sys
from learnae.errors import StateError
from learnae.node.checkpoint import Checkpoint
from learnae.node.home import Home

swarm_id = b"\\xab" * 32
home = Home.open(sys.argv[1], swarm_id=swarm_id)
home.save_checkpoint(Checkpoint(swarm_id, 1, b"one", b""))
home.save_checkpoint(Checkpoint(swarm_id, 2, b"two", b""))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    home.save_checkpoint(Checkpoint(swarm_id, 3, bytes(50_000), b""))
except StateError as error:
    print(error)
"""


def test_checkpoint_that_cannot_be_finished(folder: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(folder / "checkpoint") in done.stdout
    assert "ulimit -f" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not [name for name in os.listdir(folder) if "partial" in name]
    with Home.open(folder, swarm_id=SWARM) as home:
        loaded = home.load_checkpoint()
        assert loaded is not None
        assert loaded.params == b"two"
    assert b"one" in (folder / "checkpoint.previous").read_bytes()


def test_disk_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Home.open(folder, swarm_id=SWARM) as home:
        home.save_head(b"head")
        home.save_checkpoint(checkpoint(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for call in (
                lambda: home.save_head(b"new"),
                lambda: home.save_checkpoint(checkpoint(2)),
                lambda: home.write_status({}),
                lambda: home.append_rounds(["x"]),
            ):
                with pytest.raises(StateError, match=r"no space left.*free some space") as caught:
                    call()
                assert str(folder) in str(caught.value)
        assert home.load_head() == b"head"
        loaded = home.load_checkpoint()
        assert loaded is not None
        assert loaded.round == 1
        assert not [name for name in os.listdir(folder) if "partial" in name]


def test_new_home_on_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert "free some space" in failure(StateError, folder)
    Home.open(folder, swarm_id=SWARM).close()
