"""Payloads written from vectors in many arrays: the bytes of one array each, on every row."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels import reference
from kernels.reference import floats

DIGEST = bytes(range(32))
CID = b"\x01\x55\x12\x20" + bytes(range(100, 132))
CODECS = st.sampled_from([*reference.CODECS, "topk", "delta"])
LENGTHS = st.one_of(st.integers(0, 300), st.sampled_from([16383, 16384, 16385, 40000]))
CUTS = st.lists(LENGTHS, min_size=1, max_size=7).filter(any)


def apart(vector: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """Return the parts of a vector, each in memory of its own."""
    return [part.copy() for part in np.split(vector, np.cumsum(lengths)[:-1])]


@given(CODECS, st.integers(0, 2**32 - 1), CUTS, st.integers(1, 3), st.booleans())
def test_writes_what_one_array_would_give(
    k: ModuleType, codec: str, seed: int, lengths: list[int], n_vectors: int, has_base: bool
) -> None:
    rng, n = np.random.default_rng(seed), sum(lengths)
    old = [floats(rng, n, finite=True) / 8 for _ in range(n_vectors)]
    new = [np.where(rng.random(n) < 0.5, x, x / 2).astype(np.float32) for x in old]
    options: dict[str, Any] = {}
    if has_base or codec == "delta":
        base = k.payload_open(k.payload_write("f32", DIGEST, old), n)
        options = {"base": base, "base_cid": CID}
    expected = k.payload_write(codec, DIGEST, new, **options)
    leaves = [apart(vector, lengths) for vector in new]
    assert k.payload_write(codec, DIGEST, leaves, **options) == expected
    assert k.payload_write(codec, DIGEST, tuple(leaves), **options) == expected
    out = bytearray(k.payload_bound(codec, n_vectors, n))
    assert k.payload_write(codec, DIGEST, leaves, **options, out=out) == expected


@pytest.mark.parametrize("codec", ["i8", "ternary"])
def test_names_the_element_of_the_vector(k: ModuleType, codec: str) -> None:
    leaves = apart(np.zeros(33000, np.float32), [16000, 0, 17000])
    leaves[2][5] = np.nan
    with pytest.raises(ValueError, match=r"NaN at element 16005\b"):
        k.payload_write(codec, DIGEST, [leaves])


def test_mistakes_of_the_caller_are_value_errors(k: ModuleType) -> None:
    a, b = np.ones(5, np.float32), np.ones(3, np.float32)
    place = np.zeros(4000, np.uint8)
    mistakes: list[tuple[list[Any], str]] = [
        ([[a, b], [a]], r"vectors\[1\] has 1 leaves, vectors\[0\] has 2"),
        ([[a, b], [b, a]], r"vectors\[1\]\[0\] has 3 elements, expected 5"),
        ([[a, b[::2]]], r"vectors\[0\]\[1\] must be contiguous"),
        ([[a, [1.0]]], r"vectors\[0\]\[1\] must be a one-dimensional float32 array"),
        ([a.reshape(5, 1)], r"vectors\[0\] must be a one-dimensional"),
        ([[a[:0], a[:0]]], "at least one element"),
        ([[]], "at least one element"),
        ([[a, place[:8].view(np.float32)]], r"out overlaps vectors\[0\]"),
    ]
    for vectors, message in mistakes:
        with pytest.raises(ValueError, match=message):
            k.payload_write("f32", DIGEST, vectors, out=place)
