from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learnae.errors import ModelError
from learnae.learn.drift import (
    drift_correction,
    read_gradient,
    shift_from_mean,
    swarm_shift,
    with_shift,
)

optax = pytest.importorskip("optax")

elements = st.floats(-100, 100, width=32)
swarms = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float32, (n, 7), elements=elements),
        st.lists(st.integers(1, 10_000), min_size=n, max_size=n),
    )
)


@given(swarms)
def test_weighted_shifts_sum_to_zero_when_all_know_all(swarm: Any) -> None:
    gradients, samples = swarm
    shifts = []
    for i in range(len(samples)):
        others = [(gradients[j], samples[j]) for j in range(len(samples)) if j != i]
        shift = swarm_shift(gradients[i], samples[i], others)
        assert shift is not None and shift.dtype == np.float32
        shifts.append(shift)
    total = np.average(np.array(shifts, np.float64), axis=0, weights=samples)
    np.testing.assert_allclose(total, 0, atol=1e-3)
    # With its shift each peer moves along the swarm's mean.
    mean = np.average(gradients.astype(np.float64), axis=0, weights=samples)
    for gradient, shift in zip(gradients, shifts, strict=True):
        np.testing.assert_allclose(gradient + shift, mean, atol=1e-3)


G = np.array([1.0, -2.0], np.float32)


def test_a_peer_without_gradient_of_its_own_does_not_shift() -> None:
    assert swarm_shift(None, 10, [(G, 10)]) is None
    assert shift_from_mean(None, G) is None


def test_a_peer_alone_does_not_shift() -> None:
    assert swarm_shift(G, 10, []) is None
    assert swarm_shift(G, 10, [(None, 5)]) is None
    assert shift_from_mean(G, None) is None


def test_contributors_without_gradient_are_left_out() -> None:
    with_gap = swarm_shift(G, 10, [(None, 1000), (3 * G, 10)])
    np.testing.assert_array_equal(with_gap, swarm_shift(G, 10, [(3 * G, 10)]))
    np.testing.assert_array_equal(with_gap, G)


def test_weights_count() -> None:
    np.testing.assert_allclose(swarm_shift(G, 30, [(5 * G, 10)]), G)
    assert swarm_shift(G, 0, [(G, 0)]) is None
    np.testing.assert_array_equal(G, np.array([1.0, -2.0], np.float32))


PARAMS = {"w": np.ones((2, 2), np.float32), "b": [np.zeros(3, np.float32)]}


def scaled(factor: float) -> Any:
    return {
        "w": np.full((2, 2), factor, np.float32),
        "b": [np.full(3, -factor, np.float32)],
    }


def check_tree(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got["w"], expected["w"], rtol=1e-6)
    np.testing.assert_allclose(got["b"][0], expected["b"][0], rtol=1e-6)


def test_the_mean_is_raw_and_the_update_is_shifted() -> None:
    optimizer = optax.chain(drift_correction(), optax.sgd(1.0))
    state = optimizer.init(PARAMS)
    assert read_gradient(state) is None
    for factor in (1.0, 2.0, 6.0):
        updates, state = optimizer.update(scaled(factor), state, PARAMS)
        check_tree(updates, scaled(-factor))
    check_tree(read_gradient(state), scaled(3.0))
    state = with_shift(state, scaled(10.0))
    assert read_gradient(state) is None
    updates, state = optimizer.update(scaled(1.0), state, PARAMS)
    check_tree(updates, scaled(-11.0))
    check_tree(read_gradient(state), scaled(1.0))
    updates, _ = optimizer.update(scaled(1.0), with_shift(state, None), PARAMS)
    check_tree(updates, scaled(-1.0))


def test_it_is_found_deep_in_a_chain_and_other_state_is_kept() -> None:
    inner = optax.chain(optax.clip(1e9), drift_correction(), optax.scale(2.0))
    optimizer = optax.chain(optax.trace(0.5), optax.chain(inner, optax.adam(0.1)))
    state = optimizer.init(PARAMS)
    _, state = optimizer.update(scaled(1.0), state, PARAMS)
    renewed = with_shift(state, scaled(1.0))
    check_tree(read_gradient(state), scaled(1.0))
    check_tree(state[0].trace, renewed[0].trace)
    assert int(renewed[1][1][0].count) == 1


def test_mistakes_are_one_line() -> None:
    state = optax.adam(0.1).init(PARAMS)
    for call in (lambda: read_gradient(state), lambda: with_shift(state, None)):
        with pytest.raises(ModelError, match="holds no drift correction: build") as caught:
            call()
        assert "\n" not in str(caught.value)
    state = drift_correction().init(PARAMS)
    for wrong in ({"w": PARAMS["w"]}, {"w": np.ones(3), "b": PARAMS["b"]}):
        with pytest.raises(ModelError, match="this shift is not like the params"):
            with_shift(state, wrong)


def test_the_package_offers_the_names_of_ones_own_loop() -> None:
    import learnae.learn

    assert learnae.learn.drift_correction is drift_correction
    assert learnae.learn.with_shift is with_shift
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = learnae.learn.nothing
