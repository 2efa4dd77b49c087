"""Robust aggregation against NumPy and exact fractions: the same bits on every row."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels import reference
from kernels.reference import bits, canonical, floats

from learnae.errors import PayloadError

DIGEST = bytes(32)
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(st.integers(0, 80), st.sampled_from([255, 256, 257, 4097, 16390]))
COUNTS = st.integers(1, 20) | st.sampled_from([31, 32, 33, 64])
CODECS = st.sampled_from(["f32", "bf16", "f16", "i8", "i4"])
BLOCK_LENGTHS = st.sampled_from([256, 1024, 16384, 1048576])


def drawn(seed: int, n_models: int, n: int, *, finite: bool = False) -> list[np.ndarray]:
    """Draw models with many ties among them, at odd addresses."""
    rng = np.random.default_rng(seed)
    models = [floats(rng, n + 3, finite=finite)[3:] for _ in range(n_models)]
    for k in range(1, n_models):
        same = rng.random(n) < 0.3
        models[k][same] = models[rng.integers(0, k)][same]
    return models


def in_order(models: Sequence[np.ndarray]) -> np.ndarray:
    """Sort each element's values by IEEE 754's totalOrder."""
    stack = np.stack([bits(model) for model in models])
    negative = stack >> 31 == 1
    keys = np.where(negative, ~stack, stack | np.uint32(0x80000000))
    keys.sort(axis=0)
    back = np.where(keys >> 31 == 1, keys & np.uint32(0x7FFFFFFF), ~keys)
    return back.astype(np.uint32).view(np.float32)


def trimmed(models: Sequence[np.ndarray], n_trim: int) -> np.ndarray:
    left = in_order(models)[n_trim : len(models) - n_trim]
    with np.errstate(all="ignore"):
        total = left[0].copy()
        for row in left[1:]:
            total = total + row
        return canonical(total / np.float32(len(left)))


def with_square(total: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return total + d * d, rounded once: by exact parts, and by fsum() where these are not enough.

    `d` is split into halves of 26 bits, whose products are exact.
    """
    bits_of = np.ascontiguousarray(d).view(np.uint64)
    high = (bits_of + np.uint64(1 << 26) & ~np.uint64((1 << 27) - 1)).view(float)
    low = d - high
    square = d * d
    rest = (high * high - square + 2 * high * low) + low * low
    first = total + square
    second = np.where(total > square, (total - first) + square, (square - first) + total)
    third = second + rest
    larger = abs(second) > abs(rest)
    lost = np.where(larger, (second - third) + rest, (rest - third) + second)
    result = np.where(np.isfinite(first), first + third, first)
    for at in np.argwhere(np.isfinite(first) & (lost != 0)).tolist():
        parts = (array[tuple(at)] for array in (first, second, rest))
        result[tuple(at)] = math.fsum(parts)
    return result


def far(models: Sequence[np.ndarray]) -> np.ndarray:
    """Add as the header says, all pairs side by side."""
    n = models[0].size
    wide = np.zeros((len(models), -(-n // 256) * 256))
    out = np.zeros((len(models), len(models)))
    first, second = np.triu_indices(len(models), 1)
    with np.errstate(all="ignore"):
        wide[:, :n] = models
        apart = (wide[first] - wide[second]).reshape(len(first), wide.shape[1] // 256, 32, 8)
        lanes = np.zeros(apart[:, :, 0].shape)
        for step in range(32):
            lanes = with_square(lanes, apart[:, :, step])
        low = lanes[..., :4] + lanes[..., 4:]
        runs = (low[..., 0] + low[..., 2]) + (low[..., 1] + low[..., 3])
        length = max(1, -(-runs.shape[1] // min(16, 8192 // len(models) ** 2)))
        total = np.zeros(len(first))
        for start in range(0, runs.shape[1], length):
            part = np.zeros(len(first))
            for run in range(start, min(start + length, runs.shape[1])):
                part += runs[:, run]
            total += part
    out[first, second] = out[second, first] = total
    return out


@given(SEEDS, COUNTS, SIZES, st.data())
def test_trimmed_mean_has_numpys_bits(
    k: ModuleType, seed: int, n_models: int, n: int, data: st.DataObject
) -> None:
    models = drawn(seed, n_models, n)
    n_trim = data.draw(st.integers(0, (n_models - 1) // 2))
    expected = trimmed(models, n_trim)
    place = data.draw(st.integers(0, n_models))
    dst = models[place] if place < n_models else np.empty(n, np.float32)
    k.trimmed_mean(dst, models, n_trim)
    assert np.array_equal(bits(dst), bits(expected))


def placed(model: np.ndarray, start: int) -> np.ndarray:
    """Copy to `start` elements behind a multiple of 4096 bytes."""
    raw = np.empty(model.size + 2048, np.float32)
    first = -raw.ctypes.data % 4096 // 4 + start
    raw[first : first + model.size] = model
    return raw[first : first + model.size]


@given(
    SEEDS,
    COUNTS,
    st.integers(0, 140) | st.sampled_from([16383, 16384, 16401]),
    st.integers(0, 1023),
    st.data(),
)
def test_bits_do_not_depend_on_where_models_lie(
    k: ModuleType, seed: int, n_models: int, n: int, start: int, data: st.DataObject
) -> None:
    models = drawn(seed, n_models, n)
    n_trim = data.draw(st.integers(0, (n_models - 1) // 2))
    expected = bits(trimmed(models, n_trim))
    elsewhere = data.draw(st.lists(st.integers(0, 1023), max_size=n_models))
    starts = elsewhere + [start] * (n_models - len(elsewhere))
    models = [placed(model, at) for model, at in zip(models, starts, strict=True)]
    around = np.full(n + 64, 7, np.float32)
    before = data.draw(st.integers(0, 32))
    k.trimmed_mean(around[before : before + n], models, n_trim)
    assert np.array_equal(bits(around[before : before + n]), expected)
    assert (around[:before] == 7).all() and (around[before + n :] == 7).all()
    place = data.draw(st.integers(0, n_models - 1))
    k.trimmed_mean(models[place], models, n_trim)
    assert np.array_equal(bits(models[place]), expected)


@given(SEEDS, COUNTS, SIZES)
def test_median_is_numpys(k: ModuleType, seed: int, n_models: int, n: int) -> None:
    models = drawn(seed, n_models, n, finite=True)
    dst = np.empty(n, np.float32)
    k.median(dst, models)
    with np.errstate(over="ignore"):
        assert np.array_equal(dst, np.median(np.stack(models), axis=0))


def test_a_minority_of_nonsense_moves_no_median(k: ModuleType) -> None:
    honest = [np.full(300, value, np.float32) for value in (1.0, 2.0, 3.0)]
    nonsense = np.array([np.nan, -np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32)
    dst = np.empty(300, np.float32)
    k.median(dst, [*honest, np.tile(nonsense, 50), np.tile(np.roll(nonsense, 1), 50)])
    assert dst.min() >= 1.0 and dst.max() <= 3.0
    k.trimmed_mean(dst, [*honest, np.tile(nonsense, 50)], 1)
    assert dst.min() >= 1.0 and dst.max() <= 3.0


@given(SEEDS, COUNTS, st.integers(0, 700), st.booleans())
def test_distances_add_as_specified(
    k: ModuleType, seed: int, n_models: int, n: int, finite: bool
) -> None:
    models = drawn(seed, n_models, n, finite=finite)
    got = k.distances(models)
    assert np.array_equal(got, far(models), equal_nan=True)
    assert set(got[np.isnan(got)].view(np.uint64)) <= {0x7FF8000000000000}


def test_squares_are_added_with_one_rounding(k: ModuleType) -> None:
    x, y = np.zeros((2, 16), np.float32)
    x[0], x[8], y[8] = 12000, 1, -(2.0**-27)  # (1 + 2^-27)^2 = 1 + 2^-26 + 2^-54: above a tie
    assert k.distances([x, y])[0, 1] == 144000001 + 2.0**-25


@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-6])
def test_distances_are_exact_where_a_gram_matrix_is_not(k: ModuleType, apart: float) -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal(5000).astype(np.float32)
    other = (own + apart * rng.standard_normal(5000)).astype(np.float32)
    pairs = zip(own.tolist(), other.tolist(), strict=True)
    exact = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs)
    got = k.distances([own, other])[0, 1]
    assert abs(Fraction(got) - exact) <= Fraction(1, 10**12) * exact


@given(
    SEEDS,
    SIZES.filter(bool),
    st.lists(st.tuples(CODECS, BLOCK_LENGTHS), min_size=1, max_size=9),
    st.booleans(),
    st.data(),
)
def test_payloads_give_what_their_values_give(
    k: ModuleType,
    seed: int,
    n: int,
    listed: list[tuple[str, int]],
    with_own: bool,
    data: st.DataObject,
) -> None:
    models = drawn(seed, len(listed) + with_own, n, finite=True)
    own = models[0] if with_own else None
    views, values = [], [own] if with_own else []
    for (codec, block_length), model in zip(listed, models[with_own:], strict=True):
        written = reference.payload(codec, DIGEST, [model, model], block_length)
        views.append(k.payload_open(written, n))
        values.append(k.payload_decode(views[-1], 1))
    n_trim = data.draw(st.integers(0, (len(models) - 1) // 2))
    assert np.array_equal(k.payload_distances(own, views, 1), far(values), equal_nan=True)
    expected, middle = trimmed(values, n_trim), trimmed(values, (len(values) - 1) // 2)
    dst = np.empty(n, np.float32)
    k.payload_trimmed_mean(dst, own, views, n_trim, 1)
    assert np.array_equal(bits(dst), bits(expected))
    dst = own if own is not None else dst
    k.payload_median(dst, own, views, 1)
    assert np.array_equal(bits(dst), bits(middle))


def test_payloads_are_never_decoded_whole(k: ModuleType) -> None:
    n = 1_000_000
    x = np.arange(n, dtype=np.float32)
    views = [k.payload_open(k.payload_write("i8", DIGEST, [x + i]), n) for i in range(8)]
    dst = np.empty(n, np.float32)
    k.payload_median(dst, x, views, 0)  # what is loaded or compiled once is not part of it
    k.payload_distances(x, views, 0)
    tracemalloc.start()
    k.payload_median(dst, x, views, 0)
    k.payload_distances(x, views, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9 * 4 * 32_768 < 4 * n


@given(SEEDS, st.integers(3, 64), st.data())
def test_krum_selects_by_its_definition(
    k: ModuleType, seed: int, n: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 5, (n, n)).astype(np.float64)  # ties
    matrix[rng.random((n, n)) < 0.05] = np.nan
    n_faulty = data.draw(st.integers(0, (n - 3) // 2))
    n_selected = data.draw(st.integers(1, n - n_faulty))
    scores = []
    for i in range(n):
        others = [np.inf if np.isnan(x) else x for j, x in enumerate(matrix[i]) if j != i]
        scores.append(sum(sorted(others)[: n - n_faulty - 2]))
    selected, got = k.krum(matrix, n_faulty, n_selected)
    assert got.tolist() == scores
    assert selected.tolist() == sorted(range(n), key=lambda i: (scores[i], i))[:n_selected]


@given(
    st.lists(st.tuples(st.floats(0, 1e300), st.floats(-2, 2, width=32)), min_size=0, max_size=9),
    st.floats(0, 1e100) | st.sampled_from([0.0, float("inf")]),
)
def test_clip_shortens_what_is_too_far(
    k: ModuleType, listed: list[tuple[float, float]], radius: float
) -> None:
    own_weight, clipped = k.clip([far for far, _ in listed], [w for _, w in listed], radius)
    own = 1.0
    for (far2, weight), got in zip(listed, clipped.tolist(), strict=True):
        distance = float(np.sqrt(far2))
        factor = weight if distance <= radius else weight * (radius / distance)
        assert got == np.float32(factor)
        own -= got
    assert own_weight == np.float32(own)


@given(SEEDS, st.integers(1, 600), st.lists(CODECS, max_size=5), st.floats(0, 50))
def test_payload_clip_is_distance_then_clip_then_average(
    k: ModuleType, seed: int, n: int, codecs: list[str], radius: float
) -> None:
    rng = np.random.default_rng(seed)
    own = rng.standard_normal(n).astype(np.float32)
    models = [(own + rng.standard_normal(n)).astype(np.float32) for _ in codecs]
    views = [
        k.payload_open(k.payload_write(codec, DIGEST, [model]), n)
        for codec, model in zip(codecs, models, strict=True)
    ]
    weights = [0.5 / (1 + i) for i in range(len(views))]
    far2 = [k.payload_distance(view, 0, own)[0] for view in views]
    expected = own.copy()
    own_weight, clipped = k.clip(far2, weights, radius)
    k.payload_average(expected, own_weight, views, clipped, 0)
    assert np.array_equal(k.payload_clip(own, views, weights, radius, 0), clipped)
    assert np.array_equal(bits(own), bits(expected))


def test_payload_clip_refuses_nonfinite_and_changes_nothing(k: ModuleType) -> None:
    own, other = np.ones(9, np.float32), np.full(9, np.nan, np.float32)
    view = k.payload_open(k.payload_write("f32", DIGEST, [other]), 9)
    with pytest.raises(PayloadError, match="NaN"):
        k.payload_clip(own, [view], [0.5], 1.0, 0)
    assert own.tolist() == [1.0] * 9


def test_the_guide_runs_as_written(k: ModuleType) -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "robust.md"
    code = guide.read_text("utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    exec(code, names)
    assert names["best"].tolist() == [3] and names["own"].tolist() == [1.25] * 4


def test_mistakes_of_the_caller_are_value_errors(k: ModuleType) -> None:
    x, short = np.ones(5, np.float32), np.ones(4, np.float32)
    view = k.payload_open(k.payload_write("f32", DIGEST, [x]), 5)
    square = np.zeros((5, 5))
    mistakes = [
        (lambda: k.median(x, []), "0 models"),
        (lambda: k.median(x, [x] * 65), "65 models"),
        (lambda: k.median(x, [short]), r"models\[0\] has 4"),
        (lambda: k.trimmed_mean(x, [x] * 4, 2), "leaves none of 4"),
        (lambda: k.trimmed_mean(x, [x] * 4, -1), "leaves none"),
        (lambda: k.distances([x, short]), r"models\[1\] has 4"),
        (lambda: k.krum(square[0], 1), "square matrix"),
        (lambda: k.krum(square, 2), r"2 \* n_faulty \+ 3"),
        (lambda: k.krum(square, 1, 5), "n_selected is 5"),
        (lambda: k.clip([1.0], [1.0, 2.0], 1.0), "1 weights expected"),
        (lambda: k.clip([1.0], [1.0], -1.0), "radius"),
        (lambda: k.clip([float("nan")], [1.0], 1.0), "model 0 is NaN"),
        (lambda: k.payload_median(x, None, [], 0), "0 models"),
        (lambda: k.payload_median(x, None, [view], 1), "no vector 1"),
        (lambda: k.payload_median(short, None, [view], 0), r"views\[0\] has 5"),
        (lambda: k.payload_median(x, short, [view], 0), "own has 4"),
        (lambda: k.payload_distances(short, [view], 0), r"views\[0\] has 5"),
        (lambda: k.payload_clip(short, [view], [1.0], 1.0, 0), r"views\[0\] has 5"),
        (lambda: k.payload_clip(x, [view], [1.0], float("nan"), 0), "radius"),
    ]
    for call, message in mistakes:
        with pytest.raises(ValueError, match=message):
            call()
