"""Codec delta: the oracle's bytes, every bit back, and streams that lie, on every row."""

from __future__ import annotations

import importlib
from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels import lossless, reference
from kernels.reference import bits, floats, with_table

from learnae import kernels
from learnae.errors import PayloadError
from learnae.kernels import _load

DIGEST = bytes(range(32))
CID = b"\x01\x55\x12\x20" + bytes(range(32))
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(st.integers(1, 600), st.sampled_from([16383, 16384, 16385, 20000]))
# How far the models are apart, and how many elements differ at all.
STEPS = st.sampled_from([0.0, 1e-7, 1e-3, 1.0, 1e6, float("nan")])
PARTS = st.sampled_from([0.001, 0.5, 1.0])


def models(seed: int, n: int, step: float, part: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a base, and a model `step` away from it; NaN: any bits at all."""
    rng = np.random.default_rng(seed)
    base = floats(rng, n)
    if np.isnan(step):
        return base, rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        moved = (base + step * rng.standard_normal(n)).astype(np.float32)
    return base, np.where(rng.random(n) < part, moved, base)


def written(k: ModuleType, base: np.ndarray, x: np.ndarray) -> bytearray:
    view = k.payload_open(k.payload_write("f32", DIGEST, [base]), base.size)
    return k.payload_write("delta", DIGEST, [x], base=view, base_cid=CID)


def payload(base: np.ndarray, x: np.ndarray, block_length: int = 16384) -> bytes:
    cuts = range(block_length, x.size, block_length)
    pairs = zip(np.split(x, cuts), np.split(base, cuts), strict=True)
    blocks = [lossless.encode(*pair) for pair in pairs]
    return reference.framed("delta", DIGEST, 1, x.size, block_length, blocks, base_cid=CID)


@given(SEEDS, SIZES, STEPS, PARTS)
def test_writes_the_specified_bytes(
    k: ModuleType, seed: int, n: int, step: float, part: float
) -> None:
    base, x = models(seed, n, step, part)
    data = written(k, base, x)
    assert data == payload(base, x)
    assert len(data) <= k.payload_bound("delta", 1, n)


@given(SEEDS, SIZES, STEPS, PARTS, st.sampled_from([256, 512, 1024, 1048576]))
def test_gives_every_bit_back(
    k: ModuleType, seed: int, n: int, step: float, part: float, block_length: int
) -> None:
    base, x = models(seed, n, step, part)
    view = k.payload_open(payload(base, x, block_length), n)
    k.payload_verify(view)
    assert view.base == CID and view.codec == "delta"
    held = k.payload_open(k.payload_write("f32", DIGEST, [base]), n)
    assert k.payload_rebase(held, view) == k.payload_write("f32", DIGEST, [x])


@pytest.mark.parametrize("codec", ["bf16", "f16", "i8", "i4"])
def test_any_codec_can_be_the_base(k: ModuleType, codec: str) -> None:
    rng = np.random.default_rng(7)
    x = [rng.standard_normal(20000).astype(np.float32) for _ in range(2)]
    base = k.payload_open(k.payload_write(codec, DIGEST, x), 20000)
    data = k.payload_write("delta", DIGEST, x, base=base, base_cid=CID)
    again = k.payload_open(k.payload_rebase(base, k.payload_open(data, 20000)), 20000)
    for v in range(2):
        assert np.array_equal(bits(k.payload_decode(again, v)), bits(x[v]))
    assert len(data) < 2 * x[0].nbytes


def test_small_steps_take_few_bytes(k: ModuleType) -> None:
    rng = np.random.default_rng(3)
    base = rng.standard_normal(100_000).astype(np.float32)
    x = (base + np.float32(1e-5) * rng.standard_normal(base.size)).astype(np.float32)
    assert len(written(k, base, x)) < 0.42 * x.nbytes
    assert len(written(k, base, base)) < 0.01 * x.nbytes
    assert len(written(k, base, rng.permutation(x))) <= k.payload_bound("delta", 1, x.size)


def test_the_longest_words_are_cut_to_eleven_bits(k: ModuleType) -> None:
    """Counts as Fibonacci's numbers make the deepest tree."""
    base = np.ones(16384, np.float32)
    zigzags, numbers = [], [1, 1]
    while sum(numbers) + numbers[-1] + numbers[-2] < base.size:
        numbers.append(numbers[-1] + numbers[-2])
    for place, count in enumerate(numbers):
        zigzags += [2 << place] * count
    x = base.view(np.uint32).copy()
    x[: len(zigzags)] += np.array(zigzags, np.uint32) >> 1
    data = written(k, base, x.view(np.float32))
    assert data == payload(base, x.view(np.float32))
    lengths = np.frombuffer(data[128 + 64 + 4 : 128 + 64 + 21], np.uint8)
    assert 10 <= max((lengths & 15).max(), (lengths >> 4).max()) <= 11


def test_mistakes_of_the_caller_are_value_errors(k: ModuleType) -> None:
    x = np.ones(5, np.float32)
    base = k.payload_open(k.payload_write("f32", DIGEST, [x]), 5)
    view = k.payload_open(written(k, x, x + 1), 5)
    mistakes = [
        lambda: k.payload_write("delta", DIGEST, [x]),
        lambda: k.payload_nbytes("delta", 1, 5),
        lambda: k.payload_bound("delta", 1, 5, density=0.5),
        lambda: k.payload_decode(view, 0),
        lambda: k.payload_accumulate(view, 0, 1.0, x),
        lambda: k.payload_average(x, 1.0, [base, view], [1.0, 1.0], 0),
        lambda: k.payload_distance(view, 0, None),
        lambda: k.payload_write("f32", DIGEST, [x], base=view, base_cid=CID),
        lambda: k.payload_rebase(view, view),
    ]
    for call in mistakes:
        with pytest.raises(ValueError, match=r"delta|difference"):
            call()


def test_another_base_is_found_out(k: ModuleType) -> None:
    base = np.random.default_rng(1).standard_normal(3000).astype(np.float32)
    view = k.payload_open(written(k, base, base + np.float32(1e-3)), 3000)
    other = k.payload_open(k.payload_write("f32", DIGEST, [base * 3]), 3000)
    with pytest.raises(PayloadError, match="its base is not the one"):
        k.payload_rebase(other, view)


def outcome(data: bytes, held: bytes, n: int) -> tuple[str, bytes]:
    """Do all that a peer does with a difference; return what came of it."""
    try:
        view = kernels.payload_open(data, n)
    except PayloadError:
        return "refused", b""
    try:
        kernels.payload_verify(view)
        found = "sound"
    except PayloadError:
        found = "damaged"
    if not view.base or view.codec != "delta":
        return "another", b""
    try:
        return found, bytes(kernels.payload_rebase(kernels.payload_open(held, n), view))
    except PayloadError:
        return found + ", streams wrong", b""


def test_any_streams_give_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [importlib.import_module(f"learnae.kernels._{name}") for name in ("c", "numba")]
    seen: dict[str, int] = {}
    for case in range(4000):
        rng = np.random.default_rng([case, 9])
        n, block_length = int(rng.integers(1, 500)), int(rng.choice([256, 512]))
        base, x = models(case, n, float(rng.choice([1e-6, 1e-3, 1.0])), 0.7)
        data = bytearray(payload(base, x, block_length))
        for _ in range(int(rng.integers(1, 4))):
            first = int(rng.choice([128, 128 + 64, 128 + 64, 128 + 64 + 40]))
            data[int(rng.integers(first, len(data)))] ^= 1 << int(rng.integers(0, 8))
        sealed = bytes(with_table(data, -(-n // block_length)))
        held = reference.payload("f32", DIGEST, [base])
        results = []
        for twin in twins:
            monkeypatch.setattr(_load, "_loaded", twin)
            results.append(outcome(sealed, held, n))
        assert results[0] == results[1], f"case {case}: the backends differ"
        seen[results[0][0]] = seen.get(results[0][0], 0) + 1
    kinds = ("sound", "refused", "sound, streams wrong", "damaged, streams wrong")
    assert min(seen.get(kind, 0) for kind in kinds) > 50, seen
