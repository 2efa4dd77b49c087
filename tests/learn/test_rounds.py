from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402

from learnae.errors import CharterError, ModelError, StateError  # noqa: E402
from learnae.learn.baseline import train_alone  # noqa: E402
from learnae.learn.batches import BatchSource  # noqa: E402
from learnae.learn.drift import drift_correction, read_gradient, with_shift  # noqa: E402
from learnae.learn.evaluation import evaluate  # noqa: E402
from learnae.learn.models import Model, mlp  # noqa: E402
from learnae.learn.optimizers import OPTIMIZERS, make_optimizer  # noqa: E402
from learnae.learn.rounds import dump_state, load_state, make_round  # noqa: E402
from learnae.learn.tabular import Table  # noqa: E402

from choices import Training  # noqa: E402  isort: skip

MODEL = mlp(3, (8, 5), 2)
STEPS = 6


def table(n: int = 200, seed: int = 0) -> Table:
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, 3)).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5] > 0.3).astype(np.int32)
    return Table(x, y, ("a", "b", "c"), ("no", "yes"))


def batches(seed: int = 0) -> Any:
    return BatchSource(table(), 16, STEPS, seed).next()


def random_like(flat: np.ndarray, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(len(flat)).astype(np.float32) * 0.01


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_round_is_the_plain_loop(name: str) -> None:
    optimizer = make_optimizer(name, 1e-2)
    params = MODEL.init(3)
    fns = make_round(MODEL, optimizer, params)
    flat = fns.layout.flatten(params)
    shift = random_like(flat)
    got = fns.run(flat, fns.start(), shift, batches(), rate=0.5)

    tree, moved = params, fns.layout.unflatten(shift)
    state, gradients, losses = jax.jit(optimizer.init)(tree), [], []

    @jax.jit
    def step(tree: Any, state: Any, batch: Any) -> Any:
        loss, gradient = jax.value_and_grad(MODEL.loss)(tree, batch)
        updates, state = optimizer.update(jax.tree.map(jnp.add, gradient, moved), state, tree)
        return jax.tree.map(lambda p, u: p + 0.5 * u, tree, updates), state, loss, gradient

    for batch in zip(*batches(), strict=True):
        tree, state, loss, gradient = step(tree, state, batch)
        gradients.append(fns.layout.flatten(gradient))
        losses.append(float(loss))
    np.testing.assert_allclose(got.params, fns.layout.flatten(tree), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got.gradient, np.mean(gradients, axis=0), rtol=1e-4, atol=1e-6)
    assert got.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert got.params.dtype == np.float32 and got.params.shape == (fns.layout.n_elements,)


def test_the_transformation_in_ones_own_loop_is_the_built_in_round() -> None:
    adam = make_optimizer("adam", 1e-2)
    params = MODEL.init(0)
    fns = make_round(MODEL, adam, params)
    flat, state = fns.layout.flatten(params), fns.start()
    chained = optax.chain(drift_correction(), adam)

    @jax.jit
    def step(tree: Any, opt_state: Any, batch: Any) -> Any:
        gradient = jax.grad(MODEL.loss)(tree, batch)
        updates, opt_state = chained.update(gradient, opt_state, tree)
        return optax.apply_updates(tree, updates), opt_state

    tree, opt_state = params, jax.jit(chained.init)(params)
    shift = None
    for seed in range(3):
        result = fns.run(flat, state, shift, batches(seed))
        flat, state = result.params, result.state
        for x, y in zip(*batches(seed), strict=True):
            tree, opt_state = step(tree, opt_state, (x, y))
        gradient = fns.layout.flatten(read_gradient(opt_state))
        np.testing.assert_allclose(gradient, result.gradient, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(fns.layout.flatten(tree), flat, rtol=1e-4, atol=1e-5)
        shift = random_like(flat, seed)
        opt_state = with_shift(opt_state, fns.layout.unflatten(shift))


def test_inputs_stay_as_they_are_and_no_shift_is_zero_shift() -> None:
    fns = make_round(MODEL, make_optimizer("adam", 1e-2), MODEL.init(0))
    # 64-byte alignment is what JAX needs to use NumPy's memory in place.
    n = fns.layout.n_elements
    room = np.zeros(4 * n + 64, np.uint8)
    flat = room[-room.ctypes.data % 64 :][: 4 * n].view(np.float32)
    flat[:] = fns.layout.flatten(MODEL.init(0))
    before, shift = flat.copy(), np.zeros_like(flat)
    one = fns.run(flat, fns.start(), shift, batches())
    kept = one.params.copy()
    two = fns.run(flat, fns.start(), None, batches())
    fns.run(one.params, one.state, None, batches())
    np.testing.assert_array_equal(flat, before)
    np.testing.assert_array_equal(one.params, kept)
    np.testing.assert_array_equal(one.params, two.params)
    assert not shift.any() and not one.params.flags.writeable


def test_without_drift_correction_there_is_no_gradient() -> None:
    adam = make_optimizer("adam", 1e-2)
    plain = make_round(MODEL, adam, MODEL.init(0), drift_correction=False)
    flat = plain.layout.flatten(MODEL.init(0))
    shift = random_like(flat)
    got = plain.run(flat, plain.start(), shift, batches())
    same = make_round(MODEL, adam, MODEL.init(0)).run(flat, plain.start(), None, batches())
    assert got.gradient is None
    np.testing.assert_allclose(got.params, same.params, rtol=1e-5, atol=1e-7)


def test_integer_leaves_stay_and_narrow_leaves_keep_their_dtype() -> None:
    like = {"a": np.ones((2, 3), np.float16), "b": np.array(7), "c": [jnp.zeros(4, jnp.bfloat16)]}

    def loss(params: Any, batch: Any) -> Any:
        assert params["a"].dtype == jnp.float16 and params["c"][0].dtype == jnp.bfloat16
        x, _ = batch
        return (x.mean() * params["a"].sum() + params["b"] * params["c"][0].sum()).astype("float32")

    fns = make_round(Model(lambda seed: like, loss), make_optimizer("sgd", 0.1), like)
    flat = fns.layout.flatten(like)
    np.testing.assert_array_equal(flat, [1.0] * 6 + [0.0] * 4)
    got = fns.run(flat, fns.start(), None, (np.ones((2, 1, 1), np.float32), None))
    assert got.gradient is not None
    np.testing.assert_allclose(got.gradient, [1.0] * 6 + [7.0] * 4)
    np.testing.assert_allclose(got.params, [0.8] * 6 + [-1.4] * 4, rtol=1e-6)
    back = fns.layout.unflatten(got.params)
    assert back["b"] == 7 and back["a"].dtype == np.float16 and back["c"][0].shape == (4,)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ModelError, match="no floating-point array"):
        make_round(MODEL, make_optimizer("sgd", 0.1), {"n": np.array(3)})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_dumped_state_goes_on_as_if_nothing_had_happened(name: str) -> None:
    fns = make_round(MODEL, make_optimizer(name, 1e-2), MODEL.init(0))
    first = fns.run(fns.layout.flatten(MODEL.init(0)), fns.start(), None, batches(0))
    saved = dump_state(first.state)
    kept = {key: array.copy() for key, array in saved.items()}
    straight = fns.run(first.params, first.state, first.gradient, batches(1))
    for key, array in saved.items():
        np.testing.assert_array_equal(array, kept[key])
    resumed = fns.run(first.params, load_state(fns.start(), saved), first.gradient, batches(1))
    np.testing.assert_array_equal(straight.params, resumed.params)


def test_another_optimisers_state_is_refused() -> None:
    adam = make_round(MODEL, make_optimizer("adam", 1e-2), MODEL.init(0))
    momentum = make_round(MODEL, make_optimizer("momentum", 1e-2), MODEL.init(0))
    with pytest.raises(StateError, match="does not fit this charter's optimiser"):
        load_state(adam.start(), dump_state(momentum.start()))


@pytest.mark.parametrize(
    ("name", "rate", "says"),
    [
        ("adma", 1e-3, "did you mean 'adam'"),
        ("Adam", 1e-3, "did you mean 'adam'"),
        ("lbfgs", 1e-3, "there are adam, adamw, momentum, sgd"),
        ("adam", 0.0, "must be above 0"),
        ("adam", float("nan"), "must be above 0"),
    ],
)
def test_unknown_optimisers_are_refused(name: str, rate: float, says: str) -> None:
    with pytest.raises(CharterError, match=says):
        make_optimizer(name, rate)


def test_evaluation_in_chunks_is_evaluation_at_once() -> None:
    fns = make_round(MODEL, make_optimizer("adam", 1e-2), MODEL.init(0))
    flat = fns.layout.flatten(MODEL.init(0))
    data = table(500)
    whole = evaluate(fns, flat, data)
    assert whole["n"] == 500 and 0 <= whole["accuracy"] <= 1
    assert evaluate(fns, flat, data, chunk=300) == pytest.approx(whole, rel=1e-5)
    parts = [data.take(np.arange(200)), data.take(np.arange(200, 500))]
    assert evaluate(fns, flat, iter(parts)) == pytest.approx(whole, rel=1e-5)


def test_training_alone_learns_and_repeats() -> None:
    got = train_alone(MODEL, table(), Training(), 0, 250, table(500, 1), test_every=10)
    optimizer = make_optimizer(Training.optimizer, Training.learning_rate)
    fns = make_round(MODEL, optimizer, MODEL.init(0), drift_correction=False)
    again = train_alone(MODEL, table(), Training(), 0, 250, table(500, 1), fns=fns)
    other = train_alone(MODEL, table(), Training(), 0, 250, table(500, 1), fns=fns, batch_seed=9)
    assert got.accuracy > 0.93 and got.seconds > 0
    np.testing.assert_array_equal(got.params, again.params)
    assert not np.array_equal(got.params, other.params)
    assert [steps for steps, _ in got.curve] == [50, 100, 150, 200, 250]
    assert got.curve[-1][1] == got.metrics
