"""Dealing rows out to peers: evenly, with skewed classes, or by the value of a column.

Every function returns one sorted array of row numbers a peer; together they hold each row
exactly once. The same arguments always give the same shares. NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.wording import count

__all__ = ["by_value", "dirichlet", "iid", "split_test"]

Rows = NDArray[np.intp]


def _check(n_rows: int, n_peers: int, min_samples: int = 1) -> None:
    if n_peers < 1:
        raise DataError(f"cannot deal rows out to {n_peers} peers: at least 1 is needed")
    if n_rows < n_peers * min_samples:
        raise DataError(
            f"{count(n_rows, 'row')}: too few for {count(n_peers, 'peer')} with at least "
            f"{min_samples} each; use fewer peers or more data"
        )


def iid(n_rows: int, n_peers: int, seed: int) -> list[Rows]:
    """Deal rows out at random in shares of equal size, to within one row."""
    _check(n_rows, n_peers)
    order = np.random.default_rng([seed, 1]).permutation(n_rows)
    return [np.sort(share) for share in np.array_split(order, n_peers)]


def dirichlet(
    labels: NDArray[Any], n_peers: int, alpha: float, seed: int, min_samples: int = 64
) -> list[Rows]:
    """Deal each class out in proportions drawn from Dirichlet(alpha) (Hsu et al., 2019).

    Small alpha: each peer sees mostly one class, and shares differ in size. Draws that leave a
    peer fewer than `min_samples` rows are drawn again, up to 1,000 times; after that the
    largest share gives random rows to the smallest until all have enough.

    Parameters
    ----------
    labels
        [rows], any dtype that `numpy.unique` takes.
    """
    _check(len(labels), n_peers, min_samples)
    if not 0 < alpha < float("inf"):
        raise DataError(f"alpha is {alpha}; it must be above 0 (0.1 very skewed, 100 even)")
    random = np.random.default_rng([seed, 2])
    _, codes = np.unique(labels, return_inverse=True)
    members = [random.permutation(np.flatnonzero(codes == c)) for c in range(codes.max() + 1)]
    for _attempt in range(1000):
        shares: list[list[Rows]] = [[] for _ in range(n_peers)]
        for rows in members:
            # Tiny alphas can underflow to a draw of all zeros, which NumPy returns as NaN.
            draw = np.nan_to_num(random.dirichlet(np.full(n_peers, alpha)))
            cuts = (np.cumsum(draw)[:-1] * len(rows)).round().astype(np.intp)
            for share, part in zip(shares, np.split(rows, cuts), strict=True):
                share.append(part)
        joined = [np.concatenate(share) for share in shares]
        if min(map(len, joined)) >= min_samples:
            break
    else:
        _top_up(joined, min_samples, random)
    return [np.sort(share) for share in joined]


def _top_up(shares: list[Rows], min_samples: int, random: np.random.Generator) -> None:
    while (short := min(range(len(shares)), key=lambda i: len(shares[i]))) is not None:
        missing = min_samples - len(shares[short])
        if missing <= 0:
            return
        giver = max(range(len(shares)), key=lambda i: len(shares[i]))
        given = min(missing, len(shares[giver]) - min_samples)
        mixed = random.permutation(shares[giver])
        shares[short] = np.concatenate([shares[short], mixed[:given]])
        shares[giver] = mixed[given:]


def by_value(values: NDArray[Any], n_peers: int) -> list[Rows]:
    """Deal rows out by the value of a column: peer 0 gets the lowest values.

    Rows of equal value stay together. Cuts are made where shares come closest to equal size;
    with as many values as peers each peer gets one value.

    Parameters
    ----------
    values
        [rows], sortable, such as a mass, a year, or the name of a site.
    """
    _check(len(values), n_peers)
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) < n_peers:
        raise DataError(
            f"the column has {count(len(distinct), 'different value')}, too few for {n_peers} "
            "peers: use another column or fewer peers"
        )
    ends = np.cumsum(counts)
    cuts: list[int] = []  # number of distinct values in front of each cut
    for peer in range(1, n_peers):
        low = (cuts[-1] if cuts else 0) + 1
        high = len(distinct) - (n_peers - peer)
        target = peer * len(values) / n_peers
        cuts.append(low + int(np.argmin(np.abs(ends[low - 1 : high] - target))))
    owner = np.searchsorted(np.array(cuts), codes, side="right")
    return [np.flatnonzero(owner == peer) for peer in range(n_peers)]


def split_test(
    labels: NDArray[Any] | None, n_rows: int, fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Split rows into (training, test), with each class in the same proportion in both.

    Parameters
    ----------
    labels
        [rows], or None for a plain random split.
    fraction
        Share of the rows that nobody trains on, above 0 and below 1.
    """
    if not 0 < fraction < 1:
        raise DataError(f"a test fraction of {fraction} is not above 0 and below 1")
    random = np.random.default_rng([seed, 3])
    codes = np.zeros(n_rows, np.intp)
    if labels is not None:
        codes = np.unique(labels, return_inverse=True)[1]
    test = np.zeros(n_rows, np.bool_)
    for c in range(codes.max(initial=0) + 1):
        rows = random.permutation(np.flatnonzero(codes == c))
        test[rows[: round(fraction * len(rows))]] = True
    if not test.any() or test.all():
        raise DataError(f"{n_rows} rows are too few to hold out {fraction:.0%} of them")
    return np.flatnonzero(~test), np.flatnonzero(test)
