from __future__ import annotations

import numpy as np
import pytest
from choices import Data
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learnae.errors import DataError
from learnae.learn.batches import BatchSource
from learnae.learn.tabular import Moments, Table, concatenate, standardise, table_moments

finite = st.floats(-1e6, 1e6, width=32)


def table(x: np.ndarray, y: np.ndarray | None = None) -> Table:
    names = tuple(f"x{i}" for i in range(x.shape[1]))
    return Table(np.ascontiguousarray(x, np.float32), y, names, ("g", "h"))


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=finite),
    st.integers(0, 40),
)
def test_moments_of_parts_are_moments_of_the_whole(x: np.ndarray, cut: int) -> None:
    parts = [table(x[:cut]), table(x[cut:])]
    got = table_moments(parts)
    assert got.count == len(x)
    double = x.astype(np.float64)
    np.testing.assert_allclose(got.mean, double.mean(axis=0), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(
        got.m2, np.square(double - double.mean(axis=0)).sum(axis=0), rtol=1e-6, atol=1e-3
    )


def test_moments_stay_exact_far_from_zero() -> None:
    x = 1e6 + np.arange(1000, dtype=np.float64)[:, None]
    blocks = [Moments.of(x[i : i + 7]) for i in range(0, 1000, 7)]
    total = blocks[0]
    for block in blocks[1:]:
        total = total.merge(block)
    np.testing.assert_allclose(total.std, x.std(axis=0), rtol=1e-9)


def test_no_tables_have_no_moments() -> None:
    with pytest.raises(DataError):
        table_moments([])


def test_the_charters_statistics_are_used() -> None:
    data = table(np.array([[1, 10], [3, 30]]))
    scaled, note = standardise(data, Data(mean=(1.0, 10.0), std=(2.0, 20.0)))
    assert note is None
    np.testing.assert_array_equal(scaled.x, [[0, 0], [1, 1]])
    assert scaled.x.dtype == np.float32 and data.x[0, 0] == 1


def test_own_statistics_are_said_so() -> None:
    x = np.random.default_rng(0).normal([5, -3, 0], [2, 9, 1], (500, 3)).astype(np.float32)
    x[:, 2] = 7  # constant
    scaled, note = standardise(table(x), Data())
    assert note is not None and "this peer's own" in note and "\n" not in note
    np.testing.assert_allclose(scaled.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.x.std(axis=0), [1, 1, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ((0.0,), (1.0,), "1 mean and 1 deviation, but the data has 2 columns"),
        ((0.0, 0.0), (1.0, 0.0), "data.std above 0"),
        ((0.0, float("nan")), (1.0, 1.0), "must be finite"),
    ],
)
def test_statistics_that_do_not_fit(mean: tuple, std: tuple, says: str) -> None:
    with pytest.raises(DataError, match=says):
        standardise(table(np.zeros((2, 2))), Data(mean=mean, std=std))


def test_concatenate_refuses_other_columns() -> None:
    a, b = table(np.zeros((2, 2))), table(np.zeros((2, 3)))
    assert len(concatenate([a, a])) == 4
    with pytest.raises(DataError, match="differ in columns"):
        concatenate([a, b])
    with pytest.raises(DataError, match="no rows"):
        concatenate([])


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 4), st.integers(0, 99))
def test_each_row_is_used_once_an_epoch(n: int, batch: int, steps: int, seed: int) -> None:
    data = table(np.arange(n)[:, None], np.arange(n, dtype=np.int32))
    source = BatchSource(data, batch, steps, [seed, 1])
    rounds = [source.next() for _ in range(5)]
    for x, y in rounds:
        assert x.shape == (steps, batch, 1) and x.dtype == np.float32
        assert y is not None and y.shape == (steps, batch)
        np.testing.assert_array_equal(x[..., 0], y)
    stream = np.concatenate([y.ravel() for _, y in rounds if y is not None])
    for start in range(0, len(stream) - n + 1, n):
        assert len(set(stream[start : start + n].tolist())) == n
    again = BatchSource(data, batch, steps, [seed, 1])
    np.testing.assert_array_equal(again.indices(), rounds[0][0][..., 0].astype(int))


def test_no_rows_cannot_train() -> None:
    with pytest.raises(DataError, match="no training rows"):
        BatchSource(table(np.zeros((0, 2))), 4, 2, 0)
