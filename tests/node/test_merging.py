"""The mean and the drift shift, bit for bit against plain NumPy in the same order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels.groups import GROUPS, add_pass, pass_length
from kernels.reference import decode_block, encode_block
from numpy.typing import NDArray

from learnae import kernels
from learnae.node.merging import merge

Float32 = NDArray[np.float32]
SCHEMA = bytes(range(32))
N = 300  # more than one group of i8


@dataclass(frozen=True, repr=False)
class Other:
    """Somebody's payload, the vectors that it was made from, and its weight."""

    codec: str
    view: kernels.PayloadView
    vectors: list[Float32]
    weight: float

    def __repr__(self) -> str:
        return f"{self.codec}, {len(self.vectors)} vectors, weight {self.weight}"


def other(codec: str, vectors: list[Float32], weight: float) -> Other:
    view = kernels.payload_open(kernels.payload_write(codec, SCHEMA, vectors), N)
    return Other(codec, view, vectors, weight)


def mean(
    own: Float32, own_weight: float, others: list[tuple[Other, float]], vector: int
) -> Float32:
    """Add one after the other, but codecs with scales a pass at a time, as the header says."""
    total = np.float32(own_weight) * own
    for codec, run in itertools.groupby(others, key=lambda pair: pair[0].codec):
        left = [(contributor.vectors[vector], weight) for contributor, weight in run]
        while left:
            n = pass_length(len(left)) if codec in GROUPS else 1
            models, weights = zip(*left[:n], strict=True)
            if codec in GROUPS:
                total = add_pass(codec, total, models, weights)
            else:
                block = encode_block(codec, models[0])
                total = total + np.float32(weights[0]) * decode_block(codec, block, N)
            left = left[n:]
    return total


def oracle(
    params: Float32,
    gradient: Float32 | None,
    samples: int | None,
    others: list[Other],
    rate: float,
) -> tuple[Float32, Float32 | None, int]:
    """Say what `merge` must give: params, shift, number of models."""
    if samples is None:
        rate = 1.0
        if all(o.weight == 0 for o in others):
            others = [replace(o, weight=1.0) for o in others]
    own = 0.0 if samples is None else float(samples)
    others = [o for o in others if o.weight > 0]
    n_models = len(others) + (samples is not None)
    if others:
        total = own + sum(o.weight for o in others)
        weighted = [(o, rate * o.weight / total) for o in others]
        params = mean(params, (1.0 - rate) + rate * own / total, weighted, 0)
    if gradient is None:
        return params, None, n_models
    others = [o for o in others if len(o.vectors) > 1]
    if not others:
        return params, np.zeros_like(gradient), n_models
    total = own + sum(o.weight for o in others)
    shift = mean(gradient, own / total - 1.0, [(o, o.weight / total) for o in others], 1)
    return params, shift, n_models


@st.composite
def vectors(draw: st.DrawFn) -> Float32:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-6, 1.0, 1e4]))
    return (random.standard_normal(N) * scale).astype(np.float32)


@st.composite
def contributors(draw: st.DrawFn) -> Other:
    count = draw(st.integers(1, 2))
    weight = draw(st.one_of(st.just(0.0), st.integers(0, 2**40).map(float), st.floats(0, 1e6)))
    codec = draw(st.sampled_from(["f32", "bf16", "f16", "i8"]))
    return other(codec, [draw(vectors()) for _ in range(count)], weight)


@given(
    params=vectors(),
    gradient=st.none() | vectors(),
    samples=st.none() | st.just(0) | st.integers(1, 2**40),
    others=st.lists(contributors(), max_size=5),
    rate=st.just(1.0) | st.floats(1e-6, 1.0),
)
def test_merge_is_the_oracle(
    params: Float32,
    gradient: Float32 | None,
    samples: int | None,
    others: list[Other],
    rate: float,
) -> None:
    expected, shift, n_models = oracle(params, gradient, samples, others, rate)
    before = None if gradient is None else gradient.copy()
    merged = merge(params, gradient, samples, [(o.view, o.weight) for o in others], rate)
    assert merged.n_models == n_models
    assert params.tobytes() == expected.tobytes()
    assert (merged.shift is None) == (shift is None)
    if shift is not None and merged.shift is not None:
        assert merged.shift.tobytes() == shift.tobytes()
    if gradient is not None and before is not None:
        assert np.array_equal(gradient, before), "the gradient is left as it is"


def full(value: float) -> Float32:
    return np.full(N, value, np.float32)


def test_by_hand() -> None:
    params = full(1.0)
    others = [other("f32", [full(5.0), full(4.0)], 10.0), other("f32", [full(9.0)], 20.0)]
    merged = merge(params, full(2.0), 10, [(o.view, o.weight) for o in others])
    assert params == pytest.approx((10 * 1 + 10 * 5 + 20 * 9) / 40)
    # The second has no gradient: the mean is over the first and one's own.
    assert merged.shift == pytest.approx((10 * 2 + 10 * 4) / 20 - 2)
    assert merged.n_models == 3


def test_half_way() -> None:
    params = full(1.0)
    merge(params, None, 1, [(other("f32", [full(3.0)], 1.0).view, 1.0)], 0.5)
    assert params == pytest.approx(1.5)


def test_a_late_joiner_goes_all_the_way_whatever_the_rate() -> None:
    params = full(1.0)
    merge(params, None, None, [(other("f32", [full(3.0)], 1.0).view, 1.0)], 0.5)
    assert params == pytest.approx(3.0)


def test_relays_count_only_where_there_is_nobody_else() -> None:
    relays = [other("f32", [full(value)], 0.0) for value in (3.0, 5.0)]
    trainer = other("f32", [full(8.0)], 7.0)
    params = full(1.0)
    assert merge(params, None, None, [(o.view, 0.0) for o in relays]).n_models == 2
    assert params == pytest.approx(4.0)
    everybody = [(o.view, o.weight) for o in [*relays, trainer]]
    assert merge(params, None, None, everybody).n_models == 1
    assert params == pytest.approx(8.0)


def test_nobody_else() -> None:
    params, gradient = full(1.0), full(2.0)
    merged = merge(params, gradient, 5, [])
    assert params == pytest.approx(1.0)
    assert merged.n_models == 1
    assert merged.shift is not None and not merged.shift.any()
    assert merge(params, None, None, []).n_models == 0
