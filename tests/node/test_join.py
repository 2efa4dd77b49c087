"""`learnae.join`: any pytree, anybody's own loop, and its mistakes."""

from __future__ import annotations

import doctest
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from node.actors import SCHEMA, Member, N, Unreliable, charter, full
from numpy.typing import NDArray
from require import need

import learnae
from learnae.errors import CharterError, ModelError, SchemaError, StateError, UsageError
from learnae.node import join as join_module
from learnae.node.home import Home
from learnae.node.node import Node, NodeSettings
from learnae.payload import flatten
from learnae.swarm import Charter, dump_charter
from learnae.transports.memory import MemoryNetwork

SETTINGS = NodeSettings(poll_s=3600.0, patience_s=0.0)
SWARM = charter(steps=4)
WAIT_S = 60.0


class Layer(NamedTuple):
    w: Any
    b: Any


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


def joined(
    network: MemoryNetwork, home: Path, params: Any, swarm: Charter = SWARM
) -> learnae.JoinedPeer:
    return learnae.join(
        swarm, params, home=home, transport=network.endpoint(home.name), settings=SETTINGS
    )


def same_kind(old: Any, new: Any) -> None:
    assert type(old) is type(new)
    if isinstance(old, dict):
        assert old.keys() == new.keys()
        for key in old:
            same_kind(old[key], new[key])
    elif isinstance(old, list | tuple):
        for a, b in zip(old, new, strict=True):
            same_kind(a, b)
    elif old is not None:
        assert (old.dtype, old.shape) == (new.dtype, new.shape)


def test_nested_numpy_params(network: MemoryNetwork, tmp_path: Path) -> None:
    params = {
        "layers": [Layer(np.ones((2, 3), np.float32), None), Layer(np.ones(4, np.float64), ())],
        "half": np.ones(3, np.float16),
        "scalar": np.float32(1.0),
        "steps": np.arange(3),
        "mask": np.array([True, False]),
    }
    with joined(network, tmp_path / "ann", params) as ann:
        same_kind(params, ann.params)
        for _ in range(8):
            mine = ann.exchange(params, samples=1)
            same_kind(params, mine)
        assert ann.round == 2
        assert ann._node.drain(WAIT_S)
        with joined(network, tmp_path / "bob", {**params, "scalar": np.float32(3.0)}) as bob:
            assert bob.params["scalar"] == 1.0, "the swarm is under way: its model is adopted"
            for _ in range(4):
                theirs = bob.exchange({**params, "scalar": np.float32(3.0)}, samples=1)
            assert theirs["scalar"] == 2.0
            assert theirs["steps"] is params["steps"], "integers stay with their peer"
            assert bob.status().models_merged == 2, "once when adopted, once in its own round"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_jax_params(network: MemoryNetwork, tmp_path: Path, dtype: str) -> None:
    jnp = pytest.importorskip("jax.numpy")
    params = {"w": jnp.ones((3, 2), dtype), "n": jnp.arange(2)}
    with joined(network, tmp_path / "ann", params) as ann:
        for _ in range(4):
            params = ann.exchange({**params, "w": params["w"] * 0.5}, samples=1)
        same_kind(ann.params, params)
        assert params["w"].dtype == dtype
        assert float(params["w"][0, 0]) == 0.5**4
    with joined(network, tmp_path / "ann", {**params, "w": jnp.zeros((3, 2), dtype)}) as again:
        assert again.round == 1
        assert float(again.params["w"][0, 0]) == 0.5**4


def test_exchange_in_between_gives_back_what_it_got(network: MemoryNetwork, tmp_path: Path) -> None:
    params, state = {"w": full(1.0)}, object()
    with joined(network, tmp_path / "ann", params) as ann:
        assert ann.exchange(params, samples=1) is params
        assert ann.exchange(params, samples=1, state=state) == (params, state)
        assert ann.round == 0
        assert ann.peer_id == ann.status().peer_id


def test_loss_and_samples_of_a_round(network: MemoryNetwork, tmp_path: Path) -> None:
    listener = Member(network, 1, SWARM)
    with joined(network, tmp_path / "ann", {"w": full(1.0)}) as ann:
        for loss in (1.0, 2.0, None, 6.0):
            ann.exchange({"w": full(1.0)}, samples=8, loss=loss)
        assert ann.status().loss == 3.0
        assert ann._node.drain(WAIT_S)
        listener.hear(time.time())
    (other,) = listener.peer.contributions()
    assert other.samples == 32


def test_never_waits(tmp_path: Path, network: MemoryNetwork) -> None:
    transport = Unreliable(network.endpoint("ann"))
    other = Member(network, 1, SWARM)
    params = {"w": full(3.0)}
    with learnae.join(SWARM, params, home=tmp_path, transport=transport, settings=SETTINGS) as peer:
        transport.gate.clear()
        try:
            other.publish(time.time())
            for _ in range(4):
                peer.exchange(params, samples=1)
            assert transport.reached.wait(WAIT_S), "the I/O thread hangs in get()"
            for _ in range(40):  # for ever, if any of these waited for it
                params = peer.exchange(params, samples=1)
            assert peer.round == 11
        finally:
            transport.gate.set()


def squares(params: Any, batch: Any) -> Any:
    x, y = batch
    return ((x @ params["w"] - y) ** 2).mean()


def batches(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((4, 8, N)).astype(np.float32)
    return x, random.standard_normal((4, 8)).astype(np.float32)


def someone_with_a_gradient(network: MemoryNetwork) -> None:
    other = Member(network, 1, SWARM)
    other.publish(time.time(), samples=32, gradient=np.linspace(-1, 1, N, dtype=np.float32))


def own_loop(home: Path) -> tuple[Any, Any]:
    """Train a round with optax; return params and the shift of the next round."""
    import jax
    import optax

    from learnae.learn import drift

    network = MemoryNetwork()
    someone_with_a_gradient(network)
    optimizer = optax.chain(drift.drift_correction(), optax.adam(1e-2))
    with joined(network, home, {"w": full(0.0)}) as peer:
        params = peer.params
        state = optimizer.init(params)
        for x, y in zip(*batches(1), strict=True):
            gradient = jax.grad(squares)(params, (x, y))
            updates, state = optimizer.update(gradient, state, params)
            params = jax.tree.map(np.asarray, optax.apply_updates(params, updates))
            params, state = peer.exchange(params, samples=8, state=state)
        assert peer.round == 2, "after the adopted one"
        assert drift.read_gradient(state) is None, "the next round starts from nothing"
        return params, state[0].shift


def built_in(home: Path) -> tuple[Any, Any]:
    import optax

    from learnae.learn.models import Model
    from learnae.learn.rounds import make_round

    network = MemoryNetwork()
    someone_with_a_gradient(network)
    like = {"w": full(0.0)}
    fns = make_round(Model(lambda seed: like, squares), optax.adam(1e-2), like)
    opened = Home.open(home, swarm_id=SWARM.swarm_id)
    with Node(
        SWARM, SCHEMA, opened, network.endpoint("me"), flatten(SCHEMA, like), SETTINGS
    ) as node:
        node.start()
        result = fns.run(node.params, fns.start(), node.shift, batches(1))
        node.params[:] = result.params
        node.finish_round(result.gradient, 32, result.loss, 0.1)
        return node.params, node.shift


def test_drift_correction_in_ones_own_loop_is_the_built_in_one(tmp_path: Path) -> None:
    pytest.importorskip("optax")
    params, shift = own_loop(tmp_path / "own")
    expected_params, expected_shift = built_in(tmp_path / "built-in")
    assert np.abs(expected_shift).max() > 0.1
    np.testing.assert_allclose(shift["w"], expected_shift, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(params["w"], expected_params, rtol=1e-4, atol=1e-6)


def test_second_join_in_one_home(network: MemoryNetwork, tmp_path: Path) -> None:
    line = r"in use by another peer of this process.*close"
    with (
        joined(network, tmp_path / "ann", {"w": full(1.0)}),
        pytest.raises(StateError, match=line),
    ):
        learnae.join(
            SWARM, {"w": full(1.0)}, home=tmp_path / "ann", transport=network.endpoint("x")
        )
    joined(network, tmp_path / "ann", {"w": full(1.0)}).close()


def test_a_closed_peer_takes_no_more_rounds(network: MemoryNetwork, tmp_path: Path) -> None:
    with joined(network, tmp_path / "ann", {"w": full(1.0)}) as ann:
        ann.exchange({"w": full(1.0)}, samples=1)
    with pytest.raises(UsageError, match=r"closed.*join again"):
        ann.exchange({"w": full(1.0)}, samples=1)


def test_starting_again_is_said(
    network: MemoryNetwork, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with joined(network, tmp_path / "ann", {"w": full(1.0)}) as ann:
        for _ in range(8):
            ann.exchange({"w": full(1.0)}, samples=1)
        done = ann.round
    assert done > 0 and "going on" not in caplog.text
    with joined(network, tmp_path / "ann", {"w": full(7.0)}) as again:
        assert again.round == done
    assert f"going on from round {done}" in caplog.text and "another home" in caplog.text


def test_params_that_are_not_those_of_the_start(network: MemoryNetwork, tmp_path: Path) -> None:
    with joined(network, tmp_path / "ann", {"w": full(1.0)}) as ann:
        for _ in range(3):
            ann.exchange({"w": full(1.0)}, samples=1)
        with pytest.raises(SchemaError, match=r"\['w'\] is float32\[41\], expected is float32"):
            ann.exchange({"w": np.ones(N + 1, np.float32)}, samples=1)


def test_divergence(network: MemoryNetwork, tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="diverged"),
        joined(network, tmp_path / "ann", {"w": full(1.0)}) as ann,
    ):
        for _ in range(4):
            ann.exchange({"w": full(np.nan)}, samples=1)
    with joined(network, tmp_path / "ann", {"w": full(7.0)}) as again:
        assert np.isfinite(again.params["w"]).all()


def test_a_home_of_another_model(network: MemoryNetwork, tmp_path: Path) -> None:
    joined(network, tmp_path / "ann", {"w": full(1.0)}).close()
    with pytest.raises(SchemaError, match="other shapes"):
        joined(network, tmp_path / "ann", {"w": np.ones(3, np.float32)})
    joined(network, tmp_path / "ann", {"w": full(1.0)}).close()


def test_charter_by_path(network: MemoryNetwork, tmp_path: Path) -> None:
    (tmp_path / "swarm.toml").write_text(dump_charter(SWARM))
    with learnae.join(
        tmp_path / "swarm.toml",
        {"w": full(1.0)},
        home=tmp_path / "home",
        transport=f"directory:{tmp_path / 'shared'}",
        settings=SETTINGS,
    ) as peer:
        assert peer.round == 0
    with pytest.raises(CharterError, match=r"none\.toml.*learnae create"):
        learnae.join(tmp_path / "none.toml", {"w": full(1.0)})


def test_the_example_in_the_manual() -> None:
    need(learnae.join.__doc__, "python -OO strips docstrings")
    result = doctest.testmod(join_module)
    assert result.attempted >= 5
    assert result.failed == 0
