"""Trainers and a relay as `learnae join` runs them, on a small table; and reading their homes."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learnae.errors import (
    CharterError,
    CheckpointError,
    DataError,
    ModelError,
    SchemaError,
    StateError,
)
from learnae.node.evaluate import evaluate_homes, load_home, read_checkpoint
from learnae.node.status import Status
from learnae.node.trainer import TrainerSettings, run
from learnae.swarm import Charter, DataSection, ModelSection, TrainingSection, dump_charter

WAIT_S = 100.0
CHARTER = Charter(
    name="small",
    model=ModelSection("mlp", {"hidden": [4]}),
    data=DataSection(label="kind", columns=("a", "b"), classes=("red", "blue")),
    training=TrainingSection(
        rounds=6, steps=2, batch=8, min_seconds=0.05, learning_rate=0.05, cooldown=0.0
    ),
)


@pytest.fixture(scope="module", autouse=True)
def jax() -> None:
    pytest.importorskip("jax")
    pytest.importorskip("optax")


class Place:
    """A folder with a charter, a table and the homes of a few peers."""

    def __init__(self, folder: Path, cache: Path, charter: Charter = CHARTER) -> None:
        self.folder, self.cache = folder, cache
        self.charter = folder / "swarm.toml"
        self.charter.write_text(dump_charter(charter))
        random = np.random.default_rng(1)
        rows = random.standard_normal((60, 2)) * [5.0, 0.1] + [100.0, 0.0]
        kinds = ["blue" if a > 100 else "red" for a, _ in rows]
        lines = [f"{a},{b},{kind}" for (a, b), kind in zip(rows, kinds, strict=True)]
        self.data = folder / "rows.csv"
        self.data.write_text("\n".join(["a,b,kind", *lines]) + "\n")

    @property
    def transport(self) -> str:
        return f"directory:{self.folder / 'shared'}"

    def settings(self, name: str, **changes: Any) -> TrainerSettings:
        settings = TrainerSettings(
            charter=self.charter,
            data=self.data,
            home=self.folder / name,
            transport=self.transport,
            linger_s=0.0,
            checkpoint_s=0.0,
            cache=self.cache,
        )
        return dataclasses.replace(settings, **changes)

    def run(self, name: str, **changes: Any) -> Status:
        return run(self.settings(name, **changes), threading.Event())

    def status(self, name: str) -> dict[str, Any]:
        path = self.folder / name / "status.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"state": "absent"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jax-cache")


@pytest.fixture
def place(tmp_path: Path, cache: Path) -> Place:
    return Place(tmp_path, cache)


def until(condition: Callable[[], bool]) -> None:
    """Look again and again until a condition holds."""
    deadline, pause = time.monotonic() + WAIT_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.02)


class Running:
    """A trainer in a thread of this process."""

    def __init__(self, settings: TrainerSettings) -> None:
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self._settings = settings
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.status = run(self._settings, self.stop)
        except BaseException as error:
            self.failure = error

    def end(self) -> Status:
        self.stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure
        return self.status


RELAY = """
import sys, threading
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "jaxlib", "optax"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocked())

from learnae.node.trainer import TrainerSettings, run

charter, home, transport = sys.argv[1:]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
settings = TrainerSettings(Path(charter), None, Path(home), transport, role="relay")
print(run(settings, stop).state, "jax" in sys.modules)
"""


@pytest.fixture
def relay(place: Place) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", RELAY),
            *(str(place.charter), str(place.folder / "relay"), place.transport),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_trainers_and_a_relay_that_outlives_them(
    place: Place, relay: subprocess.Popen[str]
) -> None:
    until(lambda: place.status("relay")["state"] == "serving")
    trainers = [Running(place.settings(name, linger_s=None)) for name in ("ann", "bob")]
    names = ("ann", "bob")
    until(lambda: all(place.status(name)["state"] == "serving" for name in names))
    # Homes can be read while their peers run.
    homes = [place.folder / name for name in names]
    n_rows, results = evaluate_homes(homes, place.charter, place.data, place.cache)
    assert n_rows == 60
    assert [result["home"] for result in results] == [str(home) for home in homes]
    assert all(0 < result["round"] <= 6 for result in results)
    until(lambda: place.status("relay")["n_peers"] == 2 and place.status("relay")["bytes_sent"] > 0)
    for trainer in trainers:
        status = trainer.end()
        assert (status.state, status.round, status.rounds) == ("stopped", 6, 6)
        assert status.n_peers >= 1
    # The trainers are gone, and what they stored with them.
    for folder in (place.folder / "shared" / "objects").iterdir():
        if folder.name in {trainer.status.peer_id for trainer in trainers}:
            shutil.rmtree(folder)
    late = place.run("late", rounds=20)
    assert late.adopted_round is not None
    assert late.adopted_round > 0
    assert late.round == 20
    out, errors = relay.communicate("")
    assert (relay.returncode, out) == (0, "stopped False\n"), errors


def test_restart_goes_on(place: Place) -> None:
    first = place.run("ann", rounds=3, test=place.data, test_every=2)
    assert (first.round, first.resumed_round) == (3, None)
    assert first.accuracy is not None
    second = place.run("ann", rounds=5)
    assert (second.round, second.resumed_round) == (5, 3)
    lines = (place.folder / "ann" / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2, 3, 4, 5]
    assert json.loads(lines[1])["accuracy"] is not None
    again = place.run("ann", rounds=5)
    assert (again.round, again.resumed_round) == (5, 5), "nothing is left to do"


def test_a_peer_that_serves_has_written_its_model(place: Place) -> None:
    """A run shorter than the time between checkpoints left `evaluate` an early round."""
    ann = Running(place.settings("ann", rounds=3, linger_s=None, checkpoint_s=1e6))
    until(lambda: place.status("ann")["state"] == "serving")
    until(lambda: (place.folder / "ann" / "checkpoint").exists())
    assert load_home(place.folder / "ann", place.charter).round == 3
    ann.end()


def test_who_comes_too_late_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.run("ann", rounds=3)
    with caplog.at_level(logging.WARNING, "learnae.node"):
        late = place.run("bob", rounds=3)
    assert late.adopted_round == 3
    assert "the swarm has done its 3 rounds" in caplog.text


def test_a_relays_home_can_become_a_trainers(place: Place) -> None:
    place.run("ann", rounds=2)
    stop = threading.Event()
    stop.set()
    run(place.settings("me", role="relay", data=None), stop)
    assert place.run("me", rounds=4).round == 4


def test_local_statistics_are_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "learnae.node"):
        place.run("ann", rounds=1)
    assert "own mean and deviation of 60 rows" in caplog.text


def test_statistics_of_the_charter_are_not_worth_a_word(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    data = dataclasses.replace(CHARTER.data, mean=(100.0, 0.0), std=(5.0, 0.1))
    place.charter.write_text(dump_charter(dataclasses.replace(CHARTER, data=data)))
    with caplog.at_level(logging.INFO, "learnae.node"):
        place.run("ann", rounds=1)
    assert "deviation" not in caplog.text


LINEAR = """
import numpy as np

def make(features, power=2):
    def init(seed):
        return {"w": np.full((features, 1), 0.5, np.float32), "kept": np.arange(3)}

    def loss(params, batch):
        x, y = batch
        return abs((x @ params["w"])[:, 0] - y).mean() ** power

    return init, loss
"""


def with_own_model(place: Place, learning_rate: float, text: str = LINEAR) -> None:
    training = dataclasses.replace(
        CHARTER.training, optimizer="sgd", learning_rate=learning_rate, steps=20
    )
    model = ModelSection("model.py:make", {"power": 4})
    charter = dataclasses.replace(CHARTER, model=model, training=training)
    place.charter.write_text(dump_charter(charter))
    (place.folder / "model.py").write_text(text)


def test_own_model(place: Place) -> None:
    with_own_model(place, 1e-3)
    assert place.run("ann", rounds=2).round == 2
    loaded = load_home(place.folder / "ann", place.charter)
    assert loaded.params["w"].shape == (2, 1)
    assert loaded.params["kept"].tolist() == [0, 1, 2]
    assert loaded.round == 2


def test_own_model_that_changed_its_shape(place: Place) -> None:
    with_own_model(place, 1e-3)
    place.run("ann", rounds=1)
    (place.folder / "model.py").write_text(LINEAR.replace("(features, 1)", "(features, 2)"))
    with pytest.raises(SchemaError, match="other shapes"):
        place.run("ann", rounds=2)
    with pytest.raises(SchemaError, match="other shapes"):
        load_home(place.folder / "ann", place.charter)


def test_divergence_is_one_line(place: Place) -> None:
    with_own_model(place, 1000.0)
    with pytest.raises(ModelError, match=r"training diverged.*lower the learning rate") as caught:
        place.run("ann", rounds=20)
    assert "\n" not in str(caught.value)
    with pytest.raises(StateError, match="holds no checkpoint"):
        read_checkpoint(place.folder / "ann")  # and no checkpoint of nonsense


def test_a_trainer_needs_data(place: Place) -> None:
    with pytest.raises(DataError, match="join as a relay"):
        place.run("ann", data=None)
    assert not (place.folder / "ann").exists(), "checked before anything is made"


def test_damaged_checkpoints(place: Place) -> None:
    place.run("ann", rounds=4)
    home = place.folder / "ann"
    newest = load_home(home, place.charter)
    (home / "checkpoint").write_bytes((home / "checkpoint").read_bytes()[:-1])
    before = load_home(home, place.charter)
    assert 0 < before.round <= newest.round
    (home / "checkpoint.previous").write_bytes(b"")
    with pytest.raises(CheckpointError, match=str(home / "checkpoint")):
        load_home(home, place.charter)
    with pytest.raises(CheckpointError):
        place.run("ann", rounds=5)


def test_homes_that_cannot_be_evaluated(place: Place) -> None:
    with pytest.raises(StateError, match="holds no checkpoint"):
        load_home(place.folder, place.charter)
    place.run("ann", rounds=1)
    other = place.folder / "other.toml"
    other.write_text(dump_charter(dataclasses.replace(CHARTER, name="other")))
    with pytest.raises(CharterError, match="give the charter that the peer joined with"):
        evaluate_homes([place.folder / "ann"], other, place.data, place.cache)
