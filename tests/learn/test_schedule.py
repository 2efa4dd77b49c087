"""The learning rate's end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.learn.schedule import cooldown_rate


@pytest.mark.parametrize(
    ("done", "rate"), [(0, 1.0), (70, 1.0), (85, 0.5), (99, 1 / 30), (100, 0.0), (120, 0.0)]
)
def test_the_rate_is_constant_and_then_falls_to_zero(done: int, rate: float) -> None:
    assert cooldown_rate(done, 100, 0.3) == pytest.approx(rate)


def test_without_cooldown_the_rate_stays() -> None:
    assert cooldown_rate(99, 100, 0.0) == 1.0


@given(st.integers(0, 500), st.integers(1, 400), st.floats(0, 1))
def test_the_rate_never_rises(done: int, n_rounds: int, cooldown: float) -> None:
    now, later = (cooldown_rate(d, n_rounds, cooldown) for d in (done, done + 1))
    assert 0.0 <= later <= now <= 1.0
