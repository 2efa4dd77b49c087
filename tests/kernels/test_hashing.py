"""SHA-256 of chunks against OpenSSL's."""

from __future__ import annotations

import hashlib
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st


def expected(data: bytes, chunk_nbytes: int) -> list[bytes]:
    starts = range(0, max(1, len(data)), chunk_nbytes)
    return [hashlib.sha256(data[start : start + chunk_nbytes]).digest() for start in starts]


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_chunks_are_hashed_as_openssl_does(k: ModuleType, data: bytes, chunk_nbytes: int) -> None:
    assert k.sha256_chunks(data, chunk_nbytes) == expected(data, chunk_nbytes)


@pytest.mark.parametrize("n", [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20, (6 << 20) + 77])
def test_chunks_of_content_addresses(k: ModuleType, n: int) -> None:
    data = np.random.default_rng(n).bytes(n)
    assert k.sha256_chunks(memoryview(data), 1 << 20) == expected(data, 1 << 20)


def test_any_contiguous_buffer_is_seen_as_bytes(k: ModuleType) -> None:
    floats = np.arange(1000, dtype=np.float32)
    assert k.sha256_chunks(floats, 64) == expected(floats.tobytes(), 64)
    with pytest.raises(ValueError, match="contiguous"):
        k.sha256_chunks(memoryview(floats)[::2], 64)


@pytest.mark.parametrize("chunk_nbytes", [0, -1])
def test_chunks_have_bytes(k: ModuleType, chunk_nbytes: int) -> None:
    with pytest.raises(ValueError, match="chunk_nbytes must be at least 1"):
        k.sha256_chunks(b"abc", chunk_nbytes)
