"""Differences to a base: what is written, and what is put together again, on every row."""

from __future__ import annotations

from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels import reference
from kernels.groups import GROUPS
from kernels.reference import bits, canonical, floats

DIGEST = bytes(range(32))
CID = b"\x01\x55\x12\x20" + bytes(range(100, 132))
CODECS = st.sampled_from(list(reference.CODECS))
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(st.integers(1, 600), st.sampled_from([16383, 16384, 16385, 33000]))
BLOCK_LENGTHS = st.sampled_from([256, 512, 16384, 1048576])


def drawn(codec: str, seed: int, n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [floats(rng, n, finite=codec in GROUPS) for _ in range(2)]


def decoded(k: ModuleType, data: bytes | bytearray) -> list[np.ndarray]:
    view = k.payload_open(data, 40000)
    k.payload_verify(view)
    return [k.payload_decode(view, v) for v in range(view.n_vectors)]


@given(CODECS, CODECS, SEEDS, SIZES, BLOCK_LENGTHS)
def test_writes_what_is_left_of_the_base(
    k: ModuleType, codec: str, base_codec: str, seed: int, n: int, block_length: int
) -> None:
    base = reference.payload(base_codec, DIGEST, drawn(base_codec, seed, n), block_length)
    vectors = drawn(codec, seed + 1, n)
    with np.errstate(all="ignore"):
        left = [
            canonical(vector - value)
            for vector, value in zip(vectors, decoded(k, base), strict=True)
        ]
    if codec in GROUPS and not all(np.isfinite(part).all() for part in left):
        with pytest.raises(ValueError, match="less its base"):
            k.payload_write(codec, DIGEST, vectors, base=k.payload_open(base, n), base_cid=CID)
        return
    data = k.payload_write(codec, DIGEST, vectors, base=k.payload_open(base, n), base_cid=CID)
    assert data == reference.payload(codec, DIGEST, left, base_cid=CID)
    view = k.payload_open(data, n)
    assert view.base == CID and view.parameter == 0
    assert len(data) <= k.payload_bound(codec, 2, n)


@given(CODECS, CODECS, SEEDS, SIZES, BLOCK_LENGTHS)
def test_rebase_adds_both(
    k: ModuleType, codec: str, base_codec: str, seed: int, n: int, block_length: int
) -> None:
    base = reference.payload(base_codec, DIGEST, drawn(base_codec, seed, n))
    difference = reference.payload(
        codec, DIGEST, drawn(codec, seed + 1, n), block_length, base_cid=CID
    )
    with np.errstate(all="ignore"):
        total = [
            canonical(a + b) for a, b in zip(decoded(k, base), decoded(k, difference), strict=True)
        ]
    data = k.payload_rebase(k.payload_open(base, n), k.payload_open(difference, n))
    assert data == reference.payload("f32", DIGEST, total)


def test_a_stand_alone_payload_names_no_base(k: ModuleType) -> None:
    view = k.payload_open(k.payload_write("f32", DIGEST, [np.ones(3, np.float32)]), 3)
    assert view.base == b"" and view.parameter == 0


def test_a_chain_of_differences_ends_at_the_model(k: ModuleType) -> None:
    """Each difference is to what the receiver has: what i8 rounds away now, it sends later."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal(5000).astype(np.float32)
    held = k.payload_write("i8", DIGEST, [x])
    errors = []
    for _ in range(3):
        base = k.payload_open(held, 5000)
        difference = k.payload_write("i8", DIGEST, [x], base=base, base_cid=CID)
        held = k.payload_rebase(base, k.payload_open(difference, 5000))
        errors.append(float(np.abs(decoded(k, held)[0] - x).max()))
    assert errors[0] < 1e-3 and errors[1] < 1e-5 and errors[2] <= errors[1]


def test_mistakes_of_the_caller_are_value_errors(k: ModuleType) -> None:
    x = np.ones(5, np.float32)
    base = k.payload_open(k.payload_write("f32", DIGEST, [x]), 5)
    other = k.payload_open(k.payload_write("f32", bytes(32), [x]), 5)
    longer = k.payload_open(k.payload_write("f32", DIGEST, [np.ones(6, np.float32)]), 6)
    difference = k.payload_open(k.payload_write("i8", DIGEST, [x], base=base, base_cid=CID), 5)

    def write(**options: object) -> None:
        k.payload_write("f32", DIGEST, [x], **options)

    mistakes = [
        (lambda: write(base=base), "base_cid must be a binary CIDv1 of 36 bytes"),
        (lambda: write(base=base, base_cid=CID[:35]), "36 bytes"),
        (lambda: write(base=base, base_cid=bytes(36)), "CIDv1"),
        (lambda: write(base_cid=CID), "without a base"),
        (lambda: write(base=difference, base_cid=CID), "itself a difference"),
        (lambda: write(base=other, base_cid=CID), "different schemas"),
        (lambda: write(base=longer, base_cid=CID), "1 vectors of 6 elements"),
        (lambda: write(density=0.5), "codec f32 takes no density"),
        (lambda: k.payload_bound("i8", 1, 5, density=0.5), "codec i8 takes no density"),
        (lambda: k.payload_bound("i8", 0, 5), "1 to 4 vectors"),
        (lambda: k.payload_rebase(base, base), "names no base"),
        (lambda: k.payload_rebase(difference, difference), "itself a difference"),
        (lambda: k.payload_rebase(other, difference), "different schemas"),
        (lambda: k.payload_rebase(longer, difference), "1 vectors of 6 elements"),
    ]
    for call, message in mistakes:
        with pytest.raises(ValueError, match=message):
            call()


def test_i8_names_the_element_whose_difference_is_not_finite(k: ModuleType) -> None:
    x = np.full(20000, 3e38, np.float32)
    low = np.zeros(20000, np.float32)
    low[17000] = -3e38
    base = k.payload_open(k.payload_write("f32", DIGEST, [low]), 20000)
    with pytest.raises(ValueError, match="infinity at element 17000"):
        k.payload_write("i8", DIGEST, [x], base=base, base_cid=CID)


def test_bits_of_f32_differences_are_exact(k: ModuleType) -> None:
    rng = np.random.default_rng(1)
    old = rng.standard_normal(999).astype(np.float32)
    new = (old + np.float32(2**-12) * rng.standard_normal(999).astype(np.float32)).astype("f4")
    base = k.payload_open(k.payload_write("f32", DIGEST, [old]), 999)
    data = k.payload_write("f32", DIGEST, [new], base=base, base_cid=CID)
    assert np.array_equal(bits(decoded(k, data)[0]), bits(new - old))
