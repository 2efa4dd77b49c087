"""Codecs i8z and i4z: the oracle's bytes, every byte back, and blocks that lie, on every row."""

from __future__ import annotations

import importlib
from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels import packing, reference
from kernels.reference import with_table

from learnae import kernels
from learnae.errors import PayloadError
from learnae.kernels import _load

DIGEST = bytes(range(32))
CID = b"\x01\x55\x12\x20" + bytes(range(32))
CODECS = st.sampled_from(list(packing.PLAIN))
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(st.integers(1, 1500), st.sampled_from([16383, 16384, 16385, 20000]))
# How unequally frequent codes are: the power that normal numbers are taken to.
POWERS = st.sampled_from([0, 1, 3, 9])


def drawn(seed: int, n: int, power: int, n_vectors: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(n) ** power).astype(np.float32) for _ in range(n_vectors)]


@given(CODECS, SEEDS, SIZES, POWERS, st.integers(1, 3))
def test_writes_the_specified_bytes(
    k: ModuleType, codec: str, seed: int, n: int, power: int, n_vectors: int
) -> None:
    vectors = drawn(seed, n, power, n_vectors)
    plain = k.payload_write(packing.PLAIN[codec], DIGEST, vectors)
    data = k.payload_pack(k.payload_open(plain, n))
    assert type(data) is bytearray
    assert data == packing.packed(codec, DIGEST, vectors)
    assert len(data) <= k.payload_bound(codec, n_vectors, n)


@given(CODECS, SEEDS, SIZES, POWERS, st.sampled_from([256, 512, 1024, 1048576]))
def test_gives_every_byte_back(
    k: ModuleType, codec: str, seed: int, n: int, power: int, block_length: int
) -> None:
    vectors = drawn(seed, n, power, 2)
    data = packing.packed(codec, DIGEST, vectors, block_length, base_cid=CID)
    view = k.payload_open(data, n)
    k.payload_verify(view)
    assert (view.codec, view.base, view.n_vectors, view.n_elements) == (codec, CID, 2, n)
    plain = reference.payload(packing.PLAIN[codec], DIGEST, vectors, block_length, base_cid=CID)
    assert k.payload_unpack(view) == plain
    assert k.payload_pack(k.payload_open(plain, n)) == data


@pytest.mark.parametrize(("codec", "largest"), [("i8z", 0.95), ("i4z", 0.985)])
def test_normal_numbers_take_fewer_bytes(k: ModuleType, codec: str, largest: float) -> None:
    (x,) = drawn(3, 200_000, 1)
    plain = k.payload_write(packing.PLAIN[codec], DIGEST, [x])
    data = k.payload_pack(k.payload_open(plain, x.size))
    assert len(data) < largest * len(plain)
    assert k.payload_unpack(k.payload_open(data, x.size)) == plain


def test_the_longest_words_are_cut_to_eleven_bits(k: ModuleType) -> None:
    """Counts as Fibonacci's numbers make the deepest tree."""
    numbers, codes = [1, 1], [127]
    while len(codes) + numbers[-1] < 16000:
        codes += [len(numbers)] * numbers[-1]
        numbers.append(numbers[-1] + numbers[-2])
    x = np.array(codes, np.float32)
    x[::256] = 127
    data = k.payload_pack(k.payload_open(k.payload_write("i8", DIGEST, [x]), x.size))
    assert data == packing.packed("i8z", DIGEST, [x])
    first = 128 + 64 + 4 + 4 * -(-x.size // 256)
    lengths = np.frombuffer(data[first : first + 128], np.uint8)
    assert 10 <= max((lengths & 15).max(), (lengths >> 4).max()) <= 11
    assert k.payload_unpack(k.payload_open(data, x.size)) == k.payload_write("i8", DIGEST, [x])


def test_mistakes_of_the_caller_are_value_errors(k: ModuleType) -> None:
    (x,) = drawn(1, 600, 1)
    plain = k.payload_open(k.payload_write("i8", DIGEST, [x]), 600)
    view = k.payload_open(k.payload_pack(plain), 600)
    base = k.payload_open(k.payload_write("f32", DIGEST, [x]), 600)
    difference = k.payload_open(packing.packed("i4z", DIGEST, [x], base_cid=CID), 600)
    mistakes = [
        (lambda: k.payload_write("i8z", DIGEST, [x]), "payload_pack"),
        (lambda: k.payload_nbytes("i4z", 1, 5), "depends on its content"),
        (lambda: k.payload_bound("i8z", 1, 5, density=0.5), "takes no density"),
        (lambda: k.payload_decode(view, 0), "payload_unpack"),
        (lambda: k.payload_accumulate(view, 0, 1.0, x), "payload_unpack"),
        (lambda: k.payload_average(x, 1.0, [plain, view], [1.0, 1.0], 0), "payload_unpack"),
        (lambda: k.payload_distance(view, 0, None), "payload_unpack"),
        (lambda: k.payload_median(x, None, [plain, view], 0), "payload_unpack"),
        (lambda: k.payload_write("f32", DIGEST, [x], base=view, base_cid=CID), "payload_unpack"),
        (lambda: k.payload_rebase(base, difference), "payload_unpack"),
        (lambda: k.payload_pack(view), "i8z cannot be packed"),
        (lambda: k.payload_pack(base), "f32 cannot be packed"),
        (lambda: k.payload_unpack(plain), "i8 is not packed"),
    ]
    for call, message in mistakes:
        with pytest.raises(ValueError, match=message):
            call()


def outcome(data: bytes, n: int) -> tuple[str, bytes]:
    """Do all that a peer does with a packed payload; return what came of it."""
    try:
        view = kernels.payload_open(data, n)
    except PayloadError:
        return "refused", b""
    try:
        kernels.payload_verify(view)
        found = "sound"
    except PayloadError:
        found = "damaged"
    if view.codec not in packing.PLAIN:
        return "another", b""
    try:
        return found, bytes(kernels.payload_unpack(view))
    except PayloadError:
        return found + ", codes wrong", b""


def test_any_blocks_give_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [importlib.import_module(f"learnae.kernels._{name}") for name in ("c", "numba")]
    seen: dict[str, int] = {}
    for case in range(2000):
        rng = np.random.default_rng([case, 9])
        n, block_length = int(rng.integers(1, 1500)), int(rng.choice([512, 1024]))
        codec = str(rng.choice(["i8z", "i4z"]))
        vectors = drawn(case, n, int(rng.choice([1, 3, 9])))
        data = bytearray(packing.packed(codec, DIGEST, vectors, block_length))
        for _ in range(int(rng.integers(1, 4))):
            first = int(rng.choice([128, 128 + 64, 128 + 64, 128 + 64 + 164]))
            if first < len(data):
                data[int(rng.integers(first, len(data)))] ^= 1 << int(rng.integers(0, 8))
        sealed = bytes(with_table(data, -(-n // block_length)))
        results = []
        for twin in twins:
            monkeypatch.setattr(_load, "_loaded", twin)
            results.append(outcome(sealed, n))
        assert results[0] == results[1], f"case {case}: the backends differ"
        seen[results[0][0]] = seen.get(results[0][0], 0) + 1
    kinds = ("sound", "refused", "sound, codes wrong", "damaged, codes wrong")
    assert min(seen.get(kind, 0) for kind in kinds) > 20, seen
