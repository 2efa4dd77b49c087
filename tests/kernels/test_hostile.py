"""Any bytes give a result or a PayloadError, the same one on every row, within the caps.

Cases come from a seeded generator: a failure names its case, and the same seed makes it again.
"""

from __future__ import annotations

import importlib
import struct
import tracemalloc
from types import ModuleType

import numpy as np
import pytest
from kernels import reference
from kernels.reference import HEADER_NBYTES, bits, seal, with_table

from learnae import kernels
from learnae.errors import PayloadError
from learnae.kernels import _load

DIGEST = bytes(32)
CAP = 5000
N_CASES = {"raw": 2000, "flipped": 6000, "header": 8000, "blocks": 8000}
# Where a header's numbers are, and values that are likely to hurt.
FIELDS = [(8, "H"), (10, "H"), (12, "I"), (16, "Q"), (24, "I"), (28, "I"), (64, "Q")]
FIELDS += [(76, "B"), (76, "I"), (80, "I"), (112, "I"), (116, "Q")]
EDGES = [0, 1, 2, 3, 4, 5, 255, 256, 257, 512, 16384, 2**20, 2**20 + 256, 2**31, 2**32 - 256]
EDGES += [2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1]


def sound(rng: np.random.Generator) -> tuple[bytearray, int]:
    """Return a valid payload of at most four blocks, and their number."""
    codec = str(rng.choice(list(reference.CODECS)))
    n, n_vectors = int(rng.integers(1, 600)), int(rng.integers(1, 3))
    vectors = [rng.standard_normal(n).astype(np.float32) for _ in range(n_vectors)]
    block_length = int(rng.choice([256, 512, 16384]))
    data = reference.payload(codec, DIGEST, vectors, block_length)
    return bytearray(data), n_vectors * -(-n // block_length)


def raw(rng: np.random.Generator, data: bytearray, n_blocks: int) -> bytes:
    """Draw random bytes, in half of the cases behind sound magic and version."""
    head = data[: int(rng.choice([0, 10]))]
    return bytes(head + rng.bytes(int(rng.integers(0, 400))))


def flipped(rng: np.random.Generator, data: bytearray, n_blocks: int) -> bytes:
    """Damage a payload in transit: bytes changed, cut off, doubled or appended."""
    for _ in range(int(rng.integers(1, 5))):
        data[int(rng.integers(0, len(data)))] ^= int(rng.integers(1, 256))
    cut = int(rng.integers(0, len(data)))
    choice = rng.integers(0, 4)
    return bytes([data[:cut], data[cut:], data + data[:cut], data][int(choice)])


def header(rng: np.random.Generator, data: bytearray, n_blocks: int) -> bytes:
    """Lie in the header, with a correct checksum."""
    for _ in range(int(rng.integers(1, 3))):
        at, kind = FIELDS[int(rng.integers(0, len(FIELDS)))]
        (old,) = struct.unpack_from(f"<{kind}", data, at)
        value = old + int(rng.integers(-2, 3)) * int(rng.choice([1, 256]))
        if rng.integers(0, 2):
            value = EDGES[int(rng.integers(0, len(EDGES)))]
        struct.pack_into(f"<{kind}", data, at, value % 256 ** struct.calcsize(kind))
    return bytes(seal(data))


def blocks(rng: np.random.Generator, data: bytearray, n_blocks: int) -> bytes:
    """Put anything into table and blocks, with correct checksums wherever that is possible."""
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(HEADER_NBYTES, len(data)))] = int(rng.integers(0, 256))
    if rng.integers(0, 2):
        first = HEADER_NBYTES + len(reference.padded(bytes(8 * n_blocks)))
        data[first : first + 4] = rng.bytes(4)  # a scale, in codec i8
    return bytes(with_table(data, n_blocks))


MAKERS = {"raw": raw, "flipped": flipped, "header": header, "blocks": blocks}


def use(data: bytes) -> tuple[str, bytes]:
    """Do all that a peer does with a payload; return what came of it, values as bits."""
    try:
        view = kernels.payload_open(data, CAP)
    except PayloadError:
        return "refused", b""
    assert view.nbytes == len(data) and 1 <= view.n_elements <= CAP
    try:
        kernels.payload_verify(view)
    except PayloadError:
        outcome = "damaged"
    else:
        outcome = "sound"
    acc = np.zeros(view.n_elements, np.float32)
    values = b""
    if view.base:  # the same bytes made to stand alone serve as the base
        alone = seal(bytearray(data[:76] + bytes(36) + data[112:]))
        values = bytes(kernels.payload_rebase(kernels.payload_open(alone, CAP), view))
    for v in range(view.n_vectors):
        # Memory-safe without verification too, and the same everywhere.
        kernels.payload_average(acc, 0.5, [view, view], [0.25, 0.25], v)
        kernels.payload_accumulate(view, v, 0.5, acc)
        values += bits(kernels.payload_decode(view, v)).tobytes() + bits(acc).tobytes()
        values += kernels.payload_distances(acc, [view], v).tobytes()
        kernels.payload_median(acc, acc, [view], v)
        values += bits(acc).tobytes()
        try:
            sums = kernels.payload_distance(view, v, acc)
        except PayloadError:
            continue
        values += struct.pack("<2d", *sums)
    return outcome, values


@pytest.mark.parametrize("kind", list(MAKERS))
def test_any_bytes_give_a_result_or_payload_error(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}
    c = importlib.import_module("learnae.kernels._c")
    twins = [c, importlib.import_module("learnae.kernels._numba")]
    try:
        for case in range(N_CASES[kind]):
            rng = np.random.default_rng([case, len(kind)])
            data = MAKERS[kind](rng, *sound(rng))
            c.set_isa(c.isas()[case % len(c.isas())])
            results = []
            for twin in twins:
                monkeypatch.setattr(_load, "_loaded", twin)
                results.append(use(data))
            assert results[0] == results[1], f"{kind}, case {case}: the backends differ"
            seen[results[0][0]] = seen.get(results[0][0], 0) + 1
    finally:
        c.set_isa(None)
    # The cases must reach behind the checksums, or they test nothing.
    if kind in ("header", "blocks"):
        assert seen.get("refused", 0) > 100 and seen.get("sound", 0) > 100, seen


def test_at_least_20000_cases() -> None:
    assert sum(N_CASES.values()) >= 20_000


def test_a_lying_header_allocates_nothing(k: ModuleType) -> None:
    data, _ = sound(np.random.default_rng(0))
    k.crc32c(b"warm")  # what is loaded once is not the payload's fault
    for n_elements in (2**63, 2**40, 10**9):
        struct.pack_into("<Q", data, 16, n_elements)
        lying = bytes(seal(data))
        tracemalloc.start()
        with pytest.raises(PayloadError):
            k.payload_open(lying, 2**62)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:127], "127 bytes are too few"),
        (lambda d: b"\x88" + d[1:], "not a.* payload"),
        (lambda d: d[:-64], "bytes"),
        (lambda d: d + bytes(64), "bytes"),
        (lambda d: d[:20] + b"\x01" + d[21:], "checksum"),
        (lambda d: d[:130] + b"\x01" + d[131:], "checksum"),
    ],
)
def test_each_refusal_says_why(k: ModuleType, change: object, message: str) -> None:
    data = reference.payload("f32", DIGEST, [np.ones(600, np.float32)], 256)
    with pytest.raises(PayloadError, match=message):
        k.payload_open(change(data), CAP)


def test_the_cap_is_enforced(k: ModuleType) -> None:
    data = reference.payload("f32", DIGEST, [np.ones(600, np.float32)])
    assert k.payload_open(data, 600).n_elements == 600
    with pytest.raises(PayloadError, match="600 elements"):
        k.payload_open(data, 599)


@pytest.mark.parametrize("codec", list(reference.CODECS))
def test_verify_finds_every_damaged_byte_of_the_blocks(k: ModuleType, codec: str) -> None:
    data = bytearray(reference.payload(codec, DIGEST, [np.ones(300, np.float32)], 256))
    for at in range(HEADER_NBYTES + 64, len(data), 7):
        data[at] ^= 4
        with pytest.raises(PayloadError, match="checksum"):
            k.payload_verify(k.payload_open(bytes(data), CAP))
        data[at] ^= 4
    k.payload_verify(k.payload_open(bytes(data), CAP))


@pytest.mark.parametrize(
    ("codec", "group"), [("i8", 0), ("i4", 0), ("i4", 3), ("sign", 0), ("ternary", 0)]
)
@pytest.mark.parametrize("scale", [-1.0, -1e-45, np.nan, np.inf, -np.inf])
def test_verify_refuses_bad_scales(k: ModuleType, codec: str, group: int, scale: float) -> None:
    data = bytearray(reference.payload(codec, DIGEST, [np.ones(300, np.float32)], 256))
    struct.pack_into("<f", data, HEADER_NBYTES + 64 + 4 * group, scale)
    view = k.payload_open(bytes(with_table(data, 2)), CAP)
    with pytest.raises(PayloadError, match="scale"):
        k.payload_verify(view)


def test_verify_takes_a_scale_of_minus_zero(k: ModuleType) -> None:
    data = bytearray(reference.payload("i8", DIGEST, [np.ones(3, np.float32)]))
    struct.pack_into("<f", data, HEADER_NBYTES + 64, -0.0)
    view = k.payload_open(bytes(with_table(data, 1)), CAP)
    k.payload_verify(view)
    assert k.payload_decode(view, 0).tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("codec", "n", "last"),
    [("i4", 301, 4 * 5 + 150), ("sign", 301, 8 + 37), ("ternary", 301, 8 + 75)],
)
def test_verify_refuses_bits_behind_the_last_code(
    k: ModuleType, codec: str, n: int, last: int
) -> None:
    data = bytearray(reference.payload(codec, DIGEST, [np.ones(n, np.float32)]))
    data[HEADER_NBYTES + 64 + last] |= 0x80
    view = k.payload_open(bytes(with_table(data, 1)), CAP)
    with pytest.raises(PayloadError, match="behind"):
        k.payload_verify(view)


@pytest.mark.parametrize("where", [8, 50, 8 + 74])
def test_verify_refuses_a_ternary_code_of_2(k: ModuleType, where: int) -> None:
    data = bytearray(reference.payload("ternary", DIGEST, [np.ones(300, np.float32)]))
    data[HEADER_NBYTES + 64 + where] = 0b01_10_00_11
    view = k.payload_open(bytes(with_table(data, 1)), CAP)
    with pytest.raises(PayloadError, match="ternary code of 2"):
        k.payload_verify(view)


def test_verify_refuses_bytes_in_the_padding(k: ModuleType) -> None:
    data = bytearray(reference.payload("bf16", DIGEST, [np.ones(3, np.float32)]))
    data[-1] = 1
    view = k.payload_open(bytes(with_table(data, 1)), CAP)
    with pytest.raises(PayloadError, match="padding"):
        k.payload_verify(view)
