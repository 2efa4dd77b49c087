"""Ten mistakes that users make: each gives one line with the cause and the cure, and code 1.

Every command runs as a process of its own, as the user's would.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from learnae.node.home import Home
from learnae.swarm.announcement import Announcement, Kind, encode_announcement
from learnae.swarm.charter import (
    Charter,
    DataSection,
    ModelSection,
    TrainingSection,
    dump_charter,
)
from learnae.swarm.trust import Identity
from learnae.transports import DirectoryTransport

CHARTER = Charter(
    name="ours",
    model=ModelSection("mlp", {"hidden": [8]}),
    data=DataSection(label="kind", columns=("a", "b"), classes=("red", "blue")),
    training=TrainingSection(rounds=3, steps=2, batch=4),
)
ROWS = "a,b,kind\n1,2,red\n2,3,blue\n3,5,red\n"


@dataclass(frozen=True)
class Place:
    """A folder with all that a peer needs; a test then spoils one thing."""

    folder: Path

    @property
    def charter(self) -> Path:
        return self.folder / "swarm.toml"

    @property
    def data(self) -> Path:
        return self.folder / "mine.csv"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    def write_charter(self, charter: Charter) -> None:
        self.charter.write_text(dump_charter(charter))

    def join(
        self, *more: object, data: Path | None = None, limit_nbytes: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        command: list[object] = [sys.executable, "-m", "learnae", "join", self.charter]
        command += ["--data", data or self.data, "--home", self.home, "--linger", "0"]
        command += ["--transport", f"directory:{self.shared}", "--cache", self.folder / "cache"]
        if limit_nbytes is not None:
            # By the shell: a preexec_fn would fork this process, with the threads of JAX in it.
            blocks = limit_nbytes // 512
            command = ["sh", "-c", f'ulimit -f {blocks} && exec "$@"', "sh", *command]
        return subprocess.run(
            [str(part) for part in [*command, *more]], capture_output=True, text=True
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.write_charter(CHARTER)
    made.data.write_text(ROWS)
    return made


def require_one_line(result: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    assert result.returncode == code, result.stdout + result.stderr
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


def test_without_a_mistake_it_trains(place: Place) -> None:
    result = place.join()
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "round 3/3" in result.stdout


def test_wrong_column_count(place: Place) -> None:
    place.data.write_text(ROWS + "4,5\n")
    require_one_line(place.join(), "mine.csv:5", "2 columns", "has 3", "mend or delete")


def test_text_in_a_number(place: Place) -> None:
    place.data.write_text(ROWS.replace("2,3,blue", "2,three,blue"))
    require_one_line(place.join(), "mine.csv:3", "'b'", "three")


def test_missing_label(place: Place) -> None:
    place.data.write_text(ROWS.replace("kind", "colour"))
    require_one_line(place.join(), "'kind'", "a, b, colour", "rename")


def test_charter_of_another_swarm(place: Place) -> None:
    Home.open(place.home, swarm_id=Charter(name="theirs").swarm_id).close()
    require_one_line(place.join(), "swarm", CHARTER.swarm_id.hex()[:8], "--home")


def test_wrong_dtype(place: Place) -> None:
    data = place.folder / "mine.npz"
    np.savez(data, x=np.array([["1", "2"], ["3", "4"]]), y=np.array(["red", "blue"]))
    require_one_line(place.join(data=data), "mine.npz", "'x'", "float32")


def test_home_without_permission(place: Place) -> None:
    # A file where a folder should be: unlike permissions, it stops root too.
    place.home.write_text("in the way")
    require_one_line(place.join(), str(place.home))


def test_transport_without_permission(place: Place) -> None:
    place.shared.write_text("in the way")
    require_one_line(place.join(), str(place.shared), code=3)


def test_full_disk(place: Place) -> None:
    # A limit on the size of files meets the same writes as a full disk, and needs no disk.
    place.write_charter(Charter(name="ours", data=CHARTER.data, training=CHARTER.training))
    result = place.join(limit_nbytes=8192)
    require_one_line(result, "cannot write", str(place.folder), "use another")


def test_clock_years_off(place: Place) -> None:
    # To a peer, others that agree on a time years ahead look as they would if its own clock
    # were years behind.
    for _ in range(3):
        identity = Identity.generate()
        announcement = Announcement(
            swarm_id=CHARTER.swarm_id,
            peer_id=identity.peer_id,
            sequence=1,
            previous=None,
            kind=Kind.HELLO,
            round=0,
            payload=None,
            schema_digest=bytes(32),
            codec="i8",
            samples=0,
            loss=None,
            addresses=(),
            time=time.time() + 3 * 365.25 * 86_400,
        )
        transport = DirectoryTransport(place.shared, identity.peer_id)
        transport.publish(CHARTER.topic, encode_announcement(announcement, identity))
        transport.close()
    require_one_line(place.join(), "clock", "3.0 years", "timedatectl")


def test_key_readable_by_everybody(place: Place) -> None:
    Home.open(place.home, swarm_id=CHARTER.swarm_id).close()
    (place.home / "key").chmod(0o644)
    require_one_line(place.join(), "key", "chmod 600")


FACTORIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "raises": ("def make():\n    return 1 / 0\n", ("model.py:2", "division by zero")),
    "is not there": ("", ("model.py", "make")),
    "is no Python": ("def make(:\n", ("model.py",)),
    "needs more": ("def make(depth):\n    pass\n", ("model.py", "depth")),
    "gives no model": ("def make():\n    return 3\n", ("model.py", "init", "loss")),
}


@pytest.mark.parametrize("mistake", FACTORIES)
def test_model_factory_that_raises(place: Place, mistake: str) -> None:
    text, words = FACTORIES[mistake]
    place.write_charter(
        Charter(name="ours", model=ModelSection("model.py:make"), data=CHARTER.data)
    )
    (place.folder / "model.py").write_text(text)
    require_one_line(place.join(), *words)


MORE: dict[str, tuple[Callable[[Place], object], tuple[str, ...]]] = {
    "no charter": (lambda place: place.charter.unlink(), ("swarm.toml", "learnae create")),
    "no data": (lambda place: place.data.unlink(), ("mine.csv", "no such file")),
    "misspelt key": (
        lambda place: place.charter.write_text('[swarm]\nname = "x"\n[training]\nround = 3\n'),
        ("training.round", "rounds"),
    ),
    "label of no class": (
        lambda place: place.data.write_text(ROWS.replace("blue", "green")),
        ("mine.csv:3", "green", "red, blue"),
    ),
    "infinity": (
        lambda place: place.data.write_text(ROWS.replace("2,3,blue", "2,inf,blue")),
        ("mine.csv:3", "'b'"),
    ),
}


@pytest.mark.parametrize("mistake", MORE)
def test_other_mistakes(place: Place, mistake: str) -> None:
    spoil, words = MORE[mistake]
    spoil(place)
    require_one_line(place.join(), *words)


def test_two_peers_in_one_home(place: Place) -> None:
    with Home.open(place.home, swarm_id=CHARTER.swarm_id):
        require_one_line(place.join(), str(os.getpid()), "--home")
