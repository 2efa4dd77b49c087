"""Robust aggregation: pieces of all models side by side, and the loops over them.

A piece is decoded or copied into a row of one matrix, which bounds the memory and lets numba
compile each loop for one type.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba import decoding
from learnae.kernels._numba.jit import NAN, add_square, jit
from learnae.kernels._numba.payloads import (
    payload_average,
    payload_distance,
    raw_and_block,
)
from learnae.kernels._seam import Float32, Float64, PayloadView, Status, check

__all__ = [
    "clip",
    "distances",
    "krum",
    "payload_clip",
    "payload_distances",
    "payload_trimmed_mean",
    "trimmed_mean",
]

PIECE = 4096  # elements of each model at a time: a multiple of ROW and of RUN
ROW = 256  # elements that are sorted together: 64 models take 64 KiB
RUN = 256  # elements whose squares are added in eight lanes
PARTS_MAX, PARTS_TOTAL = 16, 8192  # parts of a sum, and sums of all parts together, at most

Piece = tuple[int, int, Float32]  # first element, count, and a row of PIECE floats a model


def _pieces(models: Sequence[Float32]) -> Iterator[Piece]:
    room = np.zeros((len(models), PIECE), np.float32)
    for start in range(0, models[0].size, PIECE):
        n = min(PIECE, models[0].size - start)
        for row, model in zip(room, models, strict=True):
            row[:n] = model[start : start + n]
            row[n:] = 0
        yield start, n, room


@dataclass
class _Reader:
    """A payload's vector, of which one block at a time is decoded."""

    raw: decoding.Raw
    block: decoding.Block
    at: int = -1  # the block that `values` hold

    def __post_init__(self) -> None:
        self.values = np.empty(min(self.block.length, self.block.n_elements), np.float32)

    def copy(self, start: int, row: Float32) -> None:
        """Set `row` to the elements from `start` on."""
        done = 0
        while done < row.size:
            at, first = divmod(start + done, self.block.length)
            if at != self.at:
                decoding.decode_block(self.raw, self.block, decoding.F16_VALUES, at, self.values)
                self.at = at
            part = self.values[first : first + row.size - done]
            row[done : done + part.size] = part
            done += part.size


def _payload_pieces(
    own: Float32 | None, views: Sequence[PayloadView], vector: int
) -> Iterator[Piece]:
    n_elements = views[0].n_elements if own is None else own.size
    n_own = int(own is not None)
    room = np.zeros((n_own + len(views), PIECE), np.float32)
    readers = [_Reader(*raw_and_block(view, vector)) for view in views]
    for start in range(0, n_elements, PIECE):
        n = min(PIECE, n_elements - start)
        room[:, n:] = 0
        if own is not None:
            room[0, :n] = own[start : start + n]
        for row, reader in zip(room[n_own:], readers, strict=True):
            reader.copy(start, row[:n])
        yield start, n, room


# ---- medians and trimmed means -----------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _network(n: int, n_trim: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return Batcher's merge exchange for `n` values, without what the middle does not need.

    Knuth, *The Art of Computer Programming* 3, 5.2.2, algorithm M.
    """
    exchanges = []
    top = p = 1 << (max(n - 1, 1)).bit_length() - 1
    while p:
        q, r, d = top, 0, p
        while d:
            exchanges += [(i, i + d) for i in range(n - d) if i & p == r]
            q, r, d = q // 2, p, q - p
        p //= 2
    needed, kept = set(range(n_trim, n - n_trim)), []
    for low, high in reversed(exchanges):
        if needed & {low, high}:
            needed |= {low, high}
            kept.append((low, high))
    pairs = np.array(kept[::-1], np.int64).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


@jit
def _flip(row: Any) -> None:
    """Turn the bits of floats into integers of the same order, or back."""
    for i in range(row.size):
        row[i] ^= (row[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)


@jit
def _exchange(a: Any, b: Any) -> None:
    for i in range(a.size):
        low, high = min(a[i], b[i]), max(a[i], b[i])
        a[i] = low
        b[i] = high


@jit
def _middle(keys: Any, low: Any, high: Any, n_trim: int, dst: Any) -> None:
    """Set `dst` to trimmed means; `keys` are the bits of each model's elements, a row a model."""
    values = keys.view(np.float32)
    count = np.float32(keys.shape[0] - 2 * n_trim)
    for start in range(0, dst.size, ROW):
        end = min(start + ROW, dst.size)
        for k in range(keys.shape[0]):
            _flip(keys[k, start:end])
        for e in range(low.size):
            _exchange(keys[low[e], start:end], keys[high[e], start:end])
        for k in range(n_trim, keys.shape[0] - n_trim):
            _flip(keys[k, start:end])
        for i in range(start, end):
            total = values[n_trim, i]
            for k in range(n_trim + 1, keys.shape[0] - n_trim):
                total += values[k, i]
            total /= count
            dst[i] = total if total == total else NAN


def _trimmed_mean(dst: Float32, pieces: Iterator[Piece], n_models: int, n_trim: int) -> None:
    low, high = _network(n_models, n_trim)
    for start, n, room in pieces:
        _middle(room.view(np.int32), low, high, n_trim, dst[start : start + n])


def trimmed_mean(dst: Float32, models: Sequence[Float32], n_trim: int) -> None:
    _trimmed_mean(dst, _pieces(models), len(models), n_trim)


def payload_trimmed_mean(
    dst: Float32, own: Float32 | None, views: Sequence[PayloadView], n_trim: int, vector: int
) -> None:
    pieces = _payload_pieces(own, views, vector)
    _trimmed_mean(dst, pieces, len(views) + (own is not None), n_trim)


# ---- distances ---------------------------------------------------------------------------


@jit
def _run_distance(x: Any, y: Any) -> float:
    """Return the squared distance of one run, added in eight lanes."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for i in range(0, RUN, 8):
        d0 = np.float64(x[i]) - np.float64(y[i])
        d1 = np.float64(x[i + 1]) - np.float64(y[i + 1])
        d2 = np.float64(x[i + 2]) - np.float64(y[i + 2])
        d3 = np.float64(x[i + 3]) - np.float64(y[i + 3])
        d4 = np.float64(x[i + 4]) - np.float64(y[i + 4])
        d5 = np.float64(x[i + 5]) - np.float64(y[i + 5])
        d6 = np.float64(x[i + 6]) - np.float64(y[i + 6])
        d7 = np.float64(x[i + 7]) - np.float64(y[i + 7])
        s0 = add_square(s0, d0)
        s1 = add_square(s1, d1)
        s2 = add_square(s2, d2)
        s3 = add_square(s3, d3)
        s4 = add_square(s4, d4)
        s5 = add_square(s5, d5)
        s6 = add_square(s6, d6)
        s7 = add_square(s7, d7)
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@jit
def _add_distances(room: Any, start: int, n: int, part_runs: int, sums: Any) -> None:
    """Add the runs of a piece, which starts at element `start`, to the sums of their parts."""
    for first in range(0, n, RUN):
        part = (start + first) // RUN // part_runs
        for i in range(room.shape[0]):
            for j in range(i + 1, room.shape[0]):
                sums[part, i, j] += _run_distance(
                    room[i, first : first + RUN], room[j, first : first + RUN]
                )


def _distances(pieces: Iterator[Piece], n_models: int, n_elements: int) -> Float64:
    n_runs = -(-n_elements // RUN)
    n_parts = min(PARTS_MAX, PARTS_TOTAL // n_models**2)
    part_runs = max(1, -(-n_runs // n_parts))
    parts = np.zeros((n_parts, n_models, n_models))
    for start, n, room in pieces:
        _add_distances(room, start, n, part_runs, parts)
    sums = np.zeros((n_models, n_models))
    for part in parts:  # in order, as a reduction by NumPy need not be
        sums += part
    sums[np.isnan(sums)] = np.nan
    lower = np.tril_indices(n_models, -1)
    sums[lower] = sums.T[lower]
    return sums


def distances(models: Sequence[Float32]) -> Float64:
    return _distances(_pieces(models), len(models), models[0].size)


def payload_distances(own: Float32 | None, views: Sequence[PayloadView], vector: int) -> Float64:
    n_elements = views[0].n_elements if own is None else own.size
    pieces = _payload_pieces(own, views, vector)
    return _distances(pieces, len(views) + (own is not None), n_elements)


# ---- rules -------------------------------------------------------------------------------


def krum(distances2: Float64, n_faulty: int, n_selected: int) -> tuple[NDArray[np.int64], Float64]:
    n = distances2.shape[0]
    scores = np.zeros(n)
    for i in range(n):
        others = np.delete(distances2[i], i)
        others[np.isnan(others)] = np.inf
        for far in np.sort(others)[: n - n_faulty - 2]:
            scores[i] += far
    return np.argsort(scores, kind="stable")[:n_selected].astype(np.int64), scores


def clip(distances2: Float64, weights: Float32, radius: float) -> tuple[float, Float32]:
    clipped, own = np.empty_like(weights), 1.0
    for k, (far, weight) in enumerate(zip(distances2.tolist(), weights.tolist(), strict=True)):
        if math.isnan(far):
            check(Status.NONFINITE, f"the squared distance of model {k} is NaN", ours=True)
        distance = math.sqrt(far) if far > 0 else 0.0
        factor = weight if distance <= radius else weight * (radius / distance)
        with np.errstate(over="ignore"):
            clipped[k] = factor
        own -= float(clipped[k])
    with np.errstate(over="ignore"):
        return float(np.float32(own)), clipped


def payload_clip(
    dst: Float32, views: Sequence[PayloadView], weights: Float32, radius: float, vector: int
) -> Float32:
    far = np.array([payload_distance(view, vector, dst)[0] for view in views])
    own_weight, clipped = clip(far, weights, radius)
    payload_average(dst, own_weight, views, clipped, vector)
    return clipped
