"""Payloads written into the caller's buffer: the same bytes as in a fresh one, on every row."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from pathlib import Path
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
SIZES = st.one_of(st.integers(1, 600), st.sampled_from([16383, 16384, 16385, 33000]))


@given(
    st.tuples(CODECS, st.integers(0, 2**32 - 1), SIZES, st.integers(1, 3), st.booleans()),
    st.integers(0, 9),
    st.integers(0, 100),
)
def test_writes_what_a_fresh_buffer_would_have(
    k: ModuleType, what: tuple[str, int, int, int, bool], offset: int, spare: int
) -> None:
    codec, seed, n, n_vectors, has_base = what
    rng = np.random.default_rng(seed)
    old = [floats(rng, n, finite=True) / 8 for _ in range(n_vectors)]
    new = [np.where(rng.random(n) < 0.5, x, x / 2).astype(np.float32) for x in old]
    options: dict[str, Any] = {"density": 0.25} if codec == "topk" else {}
    bound = k.payload_bound(codec, n_vectors, n, **options)
    if has_base or codec == "delta":
        base = k.payload_open(k.payload_write("f32", DIGEST, old), n)
        options |= {"base": base, "base_cid": CID}
    expected = k.payload_write(codec, DIGEST, new, **options)
    held = bytearray(b"\xa5" * (offset + bound + spare))
    written = k.payload_write(codec, DIGEST, new, **options, out=memoryview(held)[offset:])
    assert type(written) is memoryview and written == expected
    assert held[offset : offset + len(expected)] == expected
    assert held[:offset] == b"\xa5" * offset and held[offset + bound :] == b"\xa5" * spare
    k.payload_verify(k.payload_open(written, n))


def test_a_buffer_is_used_again(k: ModuleType) -> None:
    rng = np.random.default_rng(3)
    kept = bytearray(k.payload_bound("f32", 2, 20000))
    for codec in ("f32", "i4", "sign", "f32"):
        vectors = [floats(rng, 20000, finite=True) for _ in range(2)]
        written = k.payload_write(codec, DIGEST, vectors, out=kept)
        assert written.obj is kept and written == k.payload_write(codec, DIGEST, vectors)


@pytest.mark.parametrize("kind", ["array", "matrix", "map", "ctypes"])
def test_any_writable_buffer_does(k: ModuleType, kind: str, tmp_path: Path) -> None:
    x = np.arange(1000, dtype=np.float32)
    expected = k.payload_write("f32", DIGEST, [x])
    if kind == "map":
        path = tmp_path / "payload"
        path.write_bytes(bytes(len(expected)))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), len(expected)) as out:
            written = k.payload_write("f32", DIGEST, [x], out=out)
            assert written == expected
            written.release()
        assert path.read_bytes() == expected
        return
    if kind == "ctypes":
        room = (ctypes.c_uint8 * (len(expected) + 7))()
        written = k.payload_write("f32", DIGEST, [x], out=room)
        assert written == expected
        assert bytes(room) == expected + bytes(7)
        return
    array = np.zeros(len(expected) // 4, np.float32)
    out = array if kind == "array" else array.reshape(2, -1)
    assert k.payload_write("f32", DIGEST, [x], out=out) == expected
    assert array.tobytes() == expected


def mistakes(k: ModuleType) -> list[tuple[Callable[[], object], str]]:
    x = np.ones(500, np.float32)
    base = k.payload_open(k.payload_write("f32", DIGEST, [x]), 500)
    place = np.zeros(4000, np.uint8)
    inside = place[2000:].view(np.float32)

    def write(out: Any, vector: np.ndarray = x, **options: Any) -> None:
        k.payload_write("f32", DIGEST, [vector], out=out, **options)

    return [
        (lambda: write(bytearray(2239)), "out has 2239 bytes, up to 2240 are written"),
        (lambda: write(bytes(4000)), "writable and contiguous"),
        (lambda: write(memoryview(bytearray(4480))[::2]), "writable and contiguous"),
        (lambda: write([0] * 4000), "out must be a buffer, not list"),
        (lambda: write(place, inside), r"out overlaps vectors\[0\]"),
        (lambda: write(base.buffer, base=base, base_cid=CID), "out overlaps base"),
    ]


@pytest.mark.parametrize("which", range(6))
def test_mistakes_of_the_caller_are_value_errors(k: ModuleType, which: int) -> None:
    call, message = mistakes(k)[which]
    with pytest.raises(ValueError, match=message):
        call()
