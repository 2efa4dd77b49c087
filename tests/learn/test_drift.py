from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from learnae.errors import ModelError
from learnae.learn.drift import (
    drift_correction,
    read_gradient,
    with_shift,
)

optax = pytest.importorskip("optax")

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
