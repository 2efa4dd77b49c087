"""Codec topk against the oracle: bytes written, values read and added, hostile indices."""

from __future__ import annotations

import importlib
from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels import reference, sparse
from kernels.reference import bits, canonical, floats, with_table

from learnae import kernels
from learnae.errors import PayloadError
from learnae.kernels import _load

DIGEST = bytes(range(32))
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(st.integers(1, 600), st.sampled_from([16383, 16384, 16385, 33000]))
DENSITIES = st.sampled_from([0.0, 1.0, 0.01, 0.3]) | st.floats(2**-20, 1, width=32)
BLOCK_LENGTHS = st.sampled_from([256, 512, 16384, 1048576])
WEIGHTS = st.floats(-4, 4, width=32) | st.sampled_from([0.0, 1.0, float("inf")])


def drawn(seed: int, n: int) -> np.ndarray:
    """Draw values of which many are equal."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.3, np.float32(0.5), floats(rng, n))


def parts(x: np.ndarray, parameter: int, block_length: int) -> list[tuple[np.ndarray, int]]:
    """Cut into blocks, each with the number of elements that it keeps."""
    blocks = np.split(x, range(block_length, x.size, block_length))
    return [(b, sparse.n_kept(parameter, b.size, block_length)) for b in blocks]


def payload(x: np.ndarray, parameter: int, block_length: int) -> bytes:
    encoded = [sparse.encode(b, k) for b, k in parts(x, parameter, block_length)]
    return reference.framed("topk", DIGEST, 1, x.size, block_length, encoded, parameter=parameter)


def decoded(x: np.ndarray, parameter: int, block_length: int) -> np.ndarray:
    return np.concatenate([sparse.decode(b, k) for b, k in parts(x, parameter, block_length)])


def keeps(x: np.ndarray, parameter: int, block_length: int) -> np.ndarray:
    result = np.zeros(x.size, bool)
    for i, (b, k) in enumerate(parts(x, parameter, block_length)):
        result[i * block_length + sparse.kept_indices(b, k)] = True
    return result


@given(SEEDS, SIZES, DENSITIES)
def test_writes_the_specified_bytes(k: ModuleType, seed: int, n: int, density: float) -> None:
    x = drawn(seed, n)
    parameter = sparse.parameter_of(density)
    data = k.payload_write("topk", DIGEST, [x], density=density)
    assert data == payload(x, parameter, 16384)
    assert len(data) == k.payload_bound("topk", 1, n, density=density)
    assert k.payload_open(data, n).parameter == parameter


def test_keeps_one_percent_by_default(k: ModuleType) -> None:
    x = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    data = k.payload_write("topk", DIGEST, [x])
    value = k.payload_decode(k.payload_open(data, x.size), 0)
    assert 10_000 <= np.count_nonzero(value) <= 10_100
    assert len(data) < x.nbytes / 90 and len(data) == k.payload_nbytes("topk", 1, x.size)


@given(SEEDS, SIZES, st.integers(0, 2**20), BLOCK_LENGTHS)
def test_reads_what_the_oracle_wrote(
    k: ModuleType, seed: int, n: int, parameter: int, block_length: int
) -> None:
    x, parameter = drawn(seed, n), 1 + parameter % block_length
    view = k.payload_open(payload(x, parameter, block_length), n)
    k.payload_verify(view)
    expected = decoded(x, parameter, block_length)
    assert np.array_equal(bits(k.payload_decode(view, 0)), bits(expected))


@given(SEEDS, SIZES, st.lists(st.tuples(BLOCK_LENGTHS, WEIGHTS), max_size=6), WEIGHTS)
def test_adds_where_a_value_is_kept(
    k: ModuleType, seed: int, n: int, listed: list[tuple[int, float]], own_weight: float
) -> None:
    """Elsewhere an element keeps its bits, those of a NaN and of -0 too."""
    dst = drawn(seed, n)
    expected = dst.copy()
    views = []
    with np.errstate(all="ignore"):
        if own_weight != 1.0 or not listed:
            expected = canonical(np.float32(own_weight) * dst)
        for i, (block_length, weight) in enumerate(listed):
            x, parameter = drawn(seed + 1 + i, n), 1 + seed % block_length
            views.append(k.payload_open(payload(x, parameter, block_length), n))
            total = canonical(expected + np.float32(weight) * decoded(x, parameter, block_length))
            expected = np.where(keeps(x, parameter, block_length), total, expected)
    k.payload_average(dst, own_weight, views, [weight for _, weight in listed], 0)
    assert np.array_equal(bits(dst), bits(expected))


def test_mixes_with_other_codecs(k: ModuleType) -> None:
    n = 20000
    x = np.random.default_rng(3).standard_normal((3, n)).astype(np.float32)
    sparse_view = k.payload_open(k.payload_write("topk", DIGEST, [x[0]], density=0.1), n)
    dense_view = k.payload_open(k.payload_write("bf16", DIGEST, [x[1]]), n)
    one_by_one, at_once = x[2].copy(), x[2].copy()
    k.payload_accumulate(sparse_view, 0, 0.5, one_by_one)
    k.payload_accumulate(dense_view, 0, 0.25, one_by_one)
    k.payload_accumulate(sparse_view, 0, 2.0, one_by_one)
    k.payload_average(at_once, 1.0, [sparse_view, dense_view, sparse_view], [0.5, 0.25, 2.0], 0)
    assert np.array_equal(bits(one_by_one), bits(at_once))


def test_what_was_not_sent_stays_in_the_difference(k: ModuleType) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal(40000).astype(np.float32)
    cid = b"\x01\x55\x12\x20" + bytes(32)
    held = k.payload_write("f32", DIGEST, [np.zeros_like(x)])
    norms = []
    for _ in range(3):
        base = k.payload_open(held, x.size)
        left = k.payload_write("topk", DIGEST, [x], base=base, base_cid=cid, density=0.5)
        held = k.payload_rebase(base, k.payload_open(left, x.size))
        value = k.payload_decode(k.payload_open(held, x.size), 0)
        norms.append(float(np.linalg.norm(x - value) / np.linalg.norm(x)))
    assert norms[0] < 0.3 and norms[1] < 0.01 and norms[2] < 1e-3


@pytest.mark.parametrize("density", [-0.1, 1.1, float("nan")])
def test_a_density_is_a_part(k: ModuleType, density: float) -> None:
    with pytest.raises(ValueError, match="part from 0 to 1"):
        k.payload_write("topk", DIGEST, [np.ones(3, np.float32)], density=density)


def outcome(data: bytes, n: int) -> tuple[str, bytes]:
    """Do all that a peer does with a payload; return what came of it, values as bits."""
    view = kernels.payload_open(data, n)
    try:
        kernels.payload_verify(view)
        found = "sound"
    except PayloadError as error:
        found = "indices" if "indices" in str(error) else "padding"
    acc = np.ones(n, np.float32)
    kernels.payload_accumulate(view, 0, 0.5, acc)
    return found, bits(kernels.payload_decode(view, 0)).tobytes() + bits(acc).tobytes()


def damaged(case: int) -> tuple[bytes, int]:
    """Return a payload with bits that are wrong and checksums that are right, and its elements.

    Now and then it has one long block, which is read in pieces, and many wrong bits in a row.
    """
    rng = np.random.default_rng([case, 8])
    is_long = case % 30 == 0
    n, block_length = int(rng.integers(1, 700)), int(rng.choice([256, 512]))
    if is_long:
        n, block_length = int(rng.integers(17_000, 60_000)), 65_536
    parameter = int(rng.integers(1, (2000 if is_long else block_length) + 1))
    data = bytearray(payload(drawn(case, n), parameter, block_length))
    first = 128 + 64
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(first, len(data)))] ^= 1 << int(rng.integers(0, 8))
    if is_long:
        start = int(rng.integers(first, len(data)))
        data[start : start + 300] = b"\xff" * len(data[start : start + 300])
    return bytes(with_table(data, -(-n // block_length))), n


def test_any_indices_give_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [importlib.import_module(f"learnae.kernels._{name}") for name in ("c", "numba")]
    seen: dict[str, int] = {}
    for case in range(3000):
        sealed, n = damaged(case)
        results = []
        for twin in twins:
            monkeypatch.setattr(_load, "_loaded", twin)
            results.append(outcome(sealed, n))
        assert results[0] == results[1], f"case {case}: the backends differ"
        seen[results[0][0]] = seen.get(results[0][0], 0) + 1
    assert min(seen.get(kind, 0) for kind in ("sound", "indices", "padding")) > 100, seen
