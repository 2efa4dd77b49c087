from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.errors import DataError
from learnae.learn.partition import by_value, dirichlet, iid, split_test

seeds = st.integers(0, 2**32 - 1)


def check_whole(shares: list[np.ndarray], n_rows: int) -> None:
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(n_rows))
    for share in shares:
        assert share.dtype == np.intp and (np.diff(share) > 0).all()


@given(st.integers(1, 300), st.integers(1, 9), seeds)
def test_iid_shares_are_whole_and_even(n_rows: int, n_peers: int, seed: int) -> None:
    if n_rows < n_peers:
        with pytest.raises(DataError, match="too few for"):
            iid(n_rows, n_peers, seed)
        return
    shares = iid(n_rows, n_peers, seed)
    check_whole(shares, n_rows)
    sizes = [len(share) for share in shares]
    assert len(sizes) == n_peers and max(sizes) - min(sizes) <= 1


@settings(max_examples=20)  # a tiny alpha draws a thousand times
@given(
    st.lists(st.integers(0, 3), min_size=60, max_size=300),
    st.integers(1, 6),
    st.sampled_from([1e-3, 0.1, 0.5, 100.0]),
    st.integers(1, 10),
    seeds,
)
def test_dirichlet_shares_are_whole_with_the_minimum_for_each(
    labels: list[int], n_peers: int, alpha: float, least: int, seed: int
) -> None:
    y = np.array(labels)
    shares = dirichlet(y, n_peers, alpha, seed, least)
    check_whole(shares, len(y))
    assert len(shares) == n_peers and min(map(len, shares)) >= least
    again = dirichlet(y, n_peers, alpha, seed, least)
    assert all(np.array_equal(a, b) for a, b in zip(shares, again, strict=True))


def test_small_alpha_is_skewed_and_large_alpha_is_even() -> None:
    y = np.repeat([0, 1], [4000, 6000])

    def spread(alpha: float) -> float:
        parts = [y[share].mean() for seed in range(10) for share in dirichlet(y, 5, alpha, seed)]
        return float(np.std(parts))

    assert spread(0.1) > 0.3 > 0.1 > spread(50.0)


def test_seeds_differ_and_text_labels_work() -> None:
    y = np.repeat(["g", "h"], 500)
    assert not np.array_equal(dirichlet(y, 3, 0.5, 0)[0], dirichlet(y, 3, 0.5, 1)[0])


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(DataError, match="must be above 0"):
        dirichlet(np.zeros(100), 1, alpha, 0)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="100 rows: too few for 5 peers with at least 64 each"):
        dirichlet(np.zeros(100), 5, 0.5, 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.integers(1, 8))
def test_by_value_keeps_values_together_and_ordered(values: list[int], n_peers: int) -> None:
    array = np.array(values)
    if len(set(values)) < n_peers:
        with pytest.raises(DataError):
            by_value(array, n_peers)
        return
    shares = by_value(array, n_peers)
    check_whole(shares, len(values))
    for low, high in pairwise(shares):
        assert array[low].max() < array[high].min()


def test_by_value_gives_one_mass_to_each_of_five() -> None:
    masses = np.random.default_rng(0).choice([500, 750, 1000, 1250, 1500], 999)
    shares = by_value(masses, 5)
    assert [set(masses[s].tolist()) for s in shares] == [{500}, {750}, {1000}, {1250}, {1500}]


def test_by_value_cuts_a_continuous_column_evenly() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    assert [len(share) for share in by_value(values, 4)] == [250] * 4


@given(st.integers(20, 200), st.floats(0.1, 0.9), seeds)
def test_split_is_whole_and_stratified(n: int, fraction: float, seed: int) -> None:
    y = np.arange(n) % 2
    train, test = split_test(y, n, fraction, seed)
    check_whole([train, test], n)
    for c in (0, 1):
        expected = fraction * (y == c).sum()
        assert abs((y[test] == c).sum() - expected) <= 0.5 + 1e-9
    again = split_test(y, n, fraction, seed)
    assert np.array_equal(test, again[1])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_an_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="not above 0 and below 1"):
        split_test(None, 10, fraction, 0)


def test_nothing_to_hold_out_is_refused() -> None:
    with pytest.raises(DataError, match="too few to hold out"):
        split_test(None, 1, 0.2, 0)
