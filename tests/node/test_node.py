"""A node with its I/O thread and its folder: failures, restarts, and what never waits."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node.actors import SCHEMA, N, Unreliable, charter, full
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import ClockError, ModelError, SchemaError, StateError
from learnae.node import clock
from learnae.node.evaluate import read_checkpoint
from learnae.node.home import Home
from learnae.node.io import Slot
from learnae.node.node import Node, NodeSettings
from learnae.payload import Schema
from learnae.swarm import Announcement, Kind, decode_announcement
from learnae.transports import DirectoryTransport

SWARM = charter()
# The I/O thread takes a turn only when woken, so that every test knows what it has done.
SETTINGS = NodeSettings(poll_s=3600.0, checkpoint_s=0.0, status_s=0.0, patience_s=0.0)
RARELY = NodeSettings(poll_s=3600.0, checkpoint_s=1e9, status_s=1e9, patience_s=0.0)
WAIT_S = 60.0


class Place:
    """A shared folder, and the homes of its peers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transports: list[Unreliable] = []
        self.listener = DirectoryTransport(folder / "shared", "listener")
        self.heard = self.listener.subscribe(SWARM.topic)

    def home(self, number: int) -> Path:
        return self.folder / f"home-{number}"

    def node(self, number: int, settings: NodeSettings = SETTINGS, schema: Schema = SCHEMA) -> Node:
        home = Home.open(self.home(number), swarm_id=SWARM.swarm_id)
        inner = DirectoryTransport(self.folder / "shared", home.identity.peer_id)
        self.transports.append(Unreliable(inner))
        params = np.full(schema.n_elements, float(number), np.float32)
        return Node(SWARM, schema, home, self.transports[-1], params, settings)

    def said(self) -> list[Announcement]:
        return [decode_announcement(data) for data in self.heard.take()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def finish(node: Node, gradient: float | None = None) -> None:
    node.finish_round(None if gradient is None else full(gradient), 10, 0.5, 0.1)


def test_a_large_payload_is_stored_while_training_merges(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learnae.node.node.LARGE_NBYTES", 1)
    with place.node(1) as node:
        node.start()
        node.begin()
        stored, transport = threading.Event(), place.transports[-1]
        put, merge = transport.put, node.session.merge

        def tell(data: Any) -> bytes:
            cid = put(data)
            stored.set()
            return cid

        def wait(*arguments: Any, **more: Any) -> Any:
            assert stored.wait(WAIT_S), "merging comes first"
            return merge(*arguments, **more)

        monkeypatch.setattr(transport, "put", tell)
        monkeypatch.setattr(node.session, "merge", wait)
        finish(node)
        assert node.drain(WAIT_S)
        assert [said.round for said in place.said()] == [1]


def test_a_round(place: Place) -> None:
    with place.node(1) as node:
        node.start()
        node.begin()
        finish(node, 2.0)
        assert node.drain(WAIT_S)
        (said,) = place.said()
        assert (said.kind, said.round, said.samples, said.loss) == (Kind.WEIGHTS, 1, 10, 0.5)
        status = json.loads((place.home(1) / "status.json").read_text())
        assert (status["state"], status["round"], status["loss"]) == ("training", 1, 0.5)
        assert status["bytes_sent"] > 2 * 4 * N
        assert status["n_merged"] == 1
    (line,) = (place.home(1) / "rounds.jsonl").read_text().splitlines()
    assert json.loads(line)["round"] == 1
    assert [said.kind for said in place.said()] == [Kind.BYE]
    assert json.loads((place.home(1) / "status.json").read_text())["state"] == "stopped"


def test_two_nodes_learn_from_each_other(place: Place) -> None:
    with place.node(1) as ann, place.node(3) as bob:
        ann.start()
        bob.start()
        finish(ann, 1.0)
        assert ann.drain(WAIT_S)
        finish(bob, 2.0)
        assert bob.drain(WAIT_S)
        finish(bob, 2.0)
        assert bob.params == pytest.approx(2.0)
        assert bob.shift == pytest.approx(-0.5)
        assert bob.refresh_status().models_merged == 1


# Folders in the way of files: unlike permissions, they stop root too.
FAILURES = {
    "checkpoint": ("checkpoint", "checkpoint.previous/in the way"),
    "status": ("status.json",),
    "head": ("head",),
    "rounds": ("rounds.jsonl",),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_disk_that_fails_is_told_as_it_is(place: Place, what: str) -> None:
    node = place.node(1)
    node.start()
    for name in FAILURES[what]:
        (place.home(1) / name).mkdir(parents=True)
    finish(node)
    node._io._thread.join(WAIT_S)
    assert not node._io._thread.is_alive()
    with pytest.raises(StateError, match=str(place.home(1))) as first:
        finish(node)
    with pytest.raises(StateError) as second:
        node.check()
    assert first.value is second.value
    assert node.round == 1
    node.close()  # has been told
    Home.open(place.home(1), swarm_id=SWARM.swarm_id).close()


def test_a_failure_in_the_last_moment_is_told_too(place: Place) -> None:
    node = place.node(1, RARELY)
    node.start()
    (place.home(1) / "head").mkdir()
    finish(node)
    with pytest.raises(StateError, match="head"):
        node.close()
    node.close()
    Home.open(place.home(1), swarm_id=SWARM.swarm_id).close()


def test_a_publication_that_fails_is_repeated(place: Place) -> None:
    with place.node(1) as node:
        node.start()
        for call in ("put", "publish"):
            place.transports[0].failing = {call: 1}
            finish(node)
            assert node.drain(WAIT_S)
            assert node.drain(WAIT_S)
            (said,) = place.said()
            assert said.round == node.round


def test_who_cannot_publish_still_learns(place: Place) -> None:
    with place.node(1) as ann, place.node(3) as bob:
        ann.start()
        bob.start()
        place.transports[1].failing = {"put": 10**9}
        finish(ann)
        assert ann.drain(WAIT_S)
        finish(bob)
        assert bob.drain(WAIT_S)
        finish(bob)
        assert bob.params == pytest.approx(2.0)
        place.transports[1].failing = {}


def test_a_round_never_waits_for_the_network(place: Place) -> None:
    with place.node(1) as ann, place.node(3) as bob:
        ann.start()
        bob.start()
        transport = place.transports[1]
        transport.gate.clear()
        try:
            finish(ann)
            assert ann.drain(WAIT_S)
            finish(bob)
            assert transport.reached.wait(WAIT_S), "bob's I/O thread hangs in get()"
            # If any of this waited for the network, it would wait for ever.
            for _ in range(4):
                finish(bob)
            assert bob.round == 5
            assert bob.refresh_status().n_peers == 0
        finally:
            transport.gate.set()
        assert bob.drain(WAIT_S)
        finish(bob)
        assert bob.params == pytest.approx(2.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["params", "gradient"])
def test_divergence(place: Place, value: float, where: str) -> None:
    line = rf"diverged: {where} of round 2.*learning rate"
    with pytest.raises(ModelError, match=line) as caught, place.node(1) as node:
        node.start()
        finish(node, 1.0)
        assert node.drain(WAIT_S)
        assert [said.round for said in place.said()] == [1]
        gradient = full(1.0)
        (node.params if where == "params" else gradient)[7] = value
        node.finish_round(gradient, 10, 0.5, 0.1)
    assert "\n" not in str(caught.value)
    assert [said.kind for said in place.said()] == [Kind.BYE], "nothing was published"
    with place.node(1) as again:
        again.start()
        assert again.round == 1
        assert np.array_equal(again.params, full(1.0)), "the last good params"


def test_large_numbers_are_no_divergence(place: Place) -> None:
    with place.node(1) as node:
        node.start()
        node.params[:] = 1e30  # their squares are infinite in float32
        finish(node, 1e25)
        assert node.round == 1


def test_restart_resumes_everything(place: Place) -> None:
    random = np.random.default_rng(5)
    extra: dict[str, NDArray[Any]] = {
        "['mu']": random.standard_normal(7),
        "['count']": np.array(3, np.int32),
    }
    with place.node(3) as other:
        other.start()
        finish(other, 4.0)
        assert other.drain(WAIT_S)
        with place.node(1) as node:
            node.start()
            assert node.status.adopted_round == 1
            assert node.shift is None, "the first round of a late joiner has no shift"
            node.dump_extra = lambda: extra
            for _ in range(2):
                node.params[:] = random.standard_normal(N)
                finish(node, 2.0)
            before = node.params.copy(), node.gradient, node.shift
            assert node.round == 3
        with place.node(1) as again:
            again.start()
            assert again.round == again.status.resumed_round == 3
            after = again.params, again.gradient, again.shift
            for old, new in zip(before, after, strict=True):
                assert old is not None and new is not None
                assert old.tobytes() == new.tobytes()
            assert again.shift is not None and again.shift.any()
            for name, array in extra.items():
                assert again.extra[name].tobytes() == array.tobytes()
            assert again.session.n_remembered == 1
            finish(again, 2.0)
    said = place.said()
    # The last announcement before a restart is repeated after it, byte for byte.
    assert len({(a.peer_id, a.sequence) for a in said}) == len(set(said))


def test_checkpoints_hold_params_and_state_of_one_moment(place: Place) -> None:
    with place.node(1) as node:
        node.start()
        node.dump_extra = lambda: {"round": np.array(node.round)}
        for _ in range(20):
            node.params[:] = node.round + 1
            node._io.checkpoint_took_s = 0.0  # a slow one would make them rarer
            finish(node)
            assert node.drain(WAIT_S)
            saved = read_checkpoint(place.home(1))
            assert saved.round == node.round == int(saved.extra["round"])
            view = kernels.payload_open(saved.params, N)
            assert kernels.payload_decode(view, 0).tolist() == [saved.round] * N


def test_params_of_another_model(place: Place) -> None:
    with place.node(1) as node:
        node.start()
    other = Schema.of({"w": np.zeros(N + 1, np.float32)})
    with place.node(1, schema=other) as node, pytest.raises(SchemaError, match="other shapes"):
        node.start()


def test_close_before_start_only_releases(place: Place) -> None:
    node = place.node(1)
    node.close()
    node.close()
    assert "close" in place.transports[0].calls
    assert place.said() == []
    assert not (place.home(1) / "checkpoint").exists()
    place.node(1).close()


def test_a_clock_before_this_software(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "EARLIEST_TIME", time.time() + 1000)
    with place.node(1) as node, pytest.raises(ClockError, match="before this software existed"):
        node.start()


def test_serving_merges_what_came_with_own_weight(place: Place) -> None:
    with place.node(1) as ann, place.node(3) as bob:
        ann.start()
        bob.start()
        finish(bob)
        finish(ann)
        assert ann.drain(WAIT_S)
        stop = threading.Event()
        # As after a restart at the end of its rounds: it has trained nothing in this process.
        serving = threading.Thread(target=bob.serve, args=(stop, None, 30))
        serving.start()
        while not bob.session.traffic.accepted:
            assert bob.drain(WAIT_S)
        stop.set()
        serving.join(WAIT_S)
        assert bob.params == pytest.approx((30 * 3 + 10 * 1) / 40)


def test_slot() -> None:
    slot: Slot[str] = Slot()
    assert slot.take() is None
    slot.put("old")
    slot.put("new")
    assert slot.is_full
    assert slot.take() == "new"
    slot.put_back("new")
    assert slot.take() == "new"
    slot.put("newer")
    slot.put_back("new")
    assert slot.take() == "newer"
    assert not slot.is_full
