"""Checkpoints: what goes in comes out, and any other bytes give one named error."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import CheckpointError
from learnae.node.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from learnae.swarm import dagcbor

SWARM = bytes(range(32))
INDEX: dict[str, Any] = {
    "round": 7, "swarm": SWARM.hex(), "saved": 1.5, "params": 3, "peer": 4,
    "extra": [["adam.mu", "float32", [2, 3]], ["on", "bool", [2]]],
}  # fmt: skip
ARRAYS = {
    "adam.mu": np.arange(6, dtype=np.float32).reshape(2, 3),
    "on": np.array([True, False]),
}
CHECKPOINT = Checkpoint(SWARM, 7, b"abc", b"peer", ARRAYS, 1.5)
DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]


def seal(index: bytes, sections: bytes = b"", *, magic: bytes = b"\x89LRNCK\r\n") -> bytes:
    """Write a file with a right checksum around any index and sections."""
    head = struct.pack("<8sIIQ", magic, 1, len(index), 32 + len(index) + len(sections))
    return head + struct.pack("<I4x", kernels.crc32c(head + index + sections)) + index + sections


def sections_for(index: bytes, *parts: bytes) -> bytes:
    out = b""
    for part in parts:
        out += bytes(-(32 + len(index) + len(out)) % 64) + part
    return out


def sealed(changes: Mapping[str, Any], *parts: bytes) -> bytes:
    index = dagcbor.encode({**INDEX, **changes})
    return seal(index, sections_for(index, *parts))


PARTS = (b"abc", b"peer", ARRAYS["adam.mu"].tobytes(), ARRAYS["on"].tobytes())


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_format_is_as_described() -> None:
    assert encode_checkpoint(CHECKPOINT) == sealed({}, *PARTS)


def test_round_trip() -> None:
    again = decode_checkpoint(encode_checkpoint(CHECKPOINT))
    assert (again.swarm_id, again.round, again.params, again.peer_state, again.saved_at) == (
        SWARM, 7, b"abc", b"peer", 1.5,
    )  # fmt: skip
    assert list(again.extra) == list(ARRAYS)
    assert all(same(again.extra[name], array) for name, array in ARRAYS.items())


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.sampled_from(DTYPES).flatmap(
            lambda d: nps.arrays(d, nps.array_shapes(min_dims=0, min_side=0, max_dims=4))
        ),
        max_size=4,
    ),
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.integers(0, 2**53 - 1),
)
def test_any_content_round_trips(
    extra: dict[str, NDArray[Any]], params: bytes, peer: bytes, number: int
) -> None:
    again = decode_checkpoint(
        bytearray(encode_checkpoint(Checkpoint(SWARM, number, params, peer, extra, 0.25)))
    )
    assert (again.params, again.peer_state, again.round) == (params, peer, number)
    assert all(same(again.extra[name], array) for name, array in extra.items())


def test_arrays_of_any_layout() -> None:
    arrays: dict[str, NDArray[Any]] = {
        "big-endian": np.arange(4, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::3],
        "bfloat16": np.arange(3).astype(ml_dtypes.bfloat16),
        "scalar": np.array(1.0),
    }
    again = decode_checkpoint(encode_checkpoint(Checkpoint(SWARM, 0, b"", b"", arrays))).extra
    for name, array in arrays.items():
        assert again[name].dtype.name == array.dtype.name
        assert np.array_equal(again[name], array)
        assert again[name].flags.writeable


def test_decoded_owns_its_bytes() -> None:
    data = bytearray(encode_checkpoint(CHECKPOINT))
    again = decode_checkpoint(data)
    data[:] = bytes(len(data))
    data.append(0)
    assert again.params == b"abc"
    assert same(again.extra["adam.mu"], ARRAYS["adam.mu"])


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.array([1], "M8[s]")])
def test_unstorable(array: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="'x' has dtype"):
        encode_checkpoint(Checkpoint(SWARM, 0, b"", b"", {"x": array}))


def test_every_damaged_bit_is_noticed() -> None:
    data = bytearray(encode_checkpoint(CHECKPOINT))
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointError):
            decode_checkpoint(data)
        data[bit // 8] ^= 1 << bit % 8


def test_every_truncation_is_noticed() -> None:
    data = encode_checkpoint(CHECKPOINT)
    for n in range(len(data)):
        with pytest.raises(CheckpointError):
            decode_checkpoint(data[:n])
    with pytest.raises(CheckpointError):
        decode_checkpoint(data + b"\0")


WRONG: list[dict[str, Any]] = [
    {"round": -1}, {"round": 1.0}, {"round": True}, {"round": 2**53}, {"round": None},
    {"swarm": "00"}, {"swarm": "AB" * 32}, {"swarm": "zz" * 32}, {"swarm": SWARM},
    {"swarm": "0 " * 32}, {"saved": 1}, {"saved": None}, {"saved": "1"},
    {"params": 65}, {"params": 2**52}, {"params": -1}, {"peer": 65}, {"peer": "x"},
    {"extra": {}}, {"extra": None}, {"extra": [[]]}, {"extra": [1]}, {"extra": ["abc"]},
    {"extra": [["a", "float32", [2, 3], 1]]}, {"extra": []}, {"more": 1},
    *(
        {"extra": [["adam.mu", dtype, shape], ["on", "bool", [2]]]}
        for dtype, shape in [
            ("object", [3]), ("O", [3]), ("V24", [1]), ("float128", [1]), ("<f4", [2, 3]),
            ("float32,float32", [3]), ("", [24]), ("str", [24]), ("void", [24]), ("M8[s]", [3]),
            ("float32", [17, 1]), ("float32", [-2, -3]), ("float32", [2.0, 3.0]),
            ("float32", [True, 6]), ("float32", [2**52, 2**52]), ("float32", "ab"),
            ("float32", [2**53]), ("float32", [2, 3, *[1] * 31]), (4, [2, 3]),
            ("float32", [0, 2**52]), ("float32", [2**62, 0, 4]), ("complex64", [9]),
        ]
    ),
    {"extra": [["on", "float32", [2, 3]], ["on", "bool", [2]]]},
    {"extra": [["adam.mu", "bool", [2, 3, 4]], ["on", "bool", [2]]]},
]  # fmt: skip


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_well_sealed_nonsense(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError) as caught:
        decode_checkpoint(sealed(changes, *PARTS))
    assert "\n" not in str(caught.value)


def test_missing_entry() -> None:
    for key in INDEX:
        index = dagcbor.encode({k: v for k, v in INDEX.items() if k != key})
        with pytest.raises(CheckpointError, match="other entries"):
            decode_checkpoint(seal(index, sections_for(index, *PARTS)))


def test_strange_indexes() -> None:
    deep = b"\x81" * 100_000
    for index in (b"", b"\xa0", b"\x01", b"\xff", deep, dagcbor.encode(list(INDEX)), b"\xf6"):
        with pytest.raises(CheckpointError):
            decode_checkpoint(seal(index, sections_for(index, *PARTS)))


def test_what_a_wrong_file_is_called() -> None:
    data = encode_checkpoint(CHECKPOINT)
    for wrong, line in [
        (b"", "too few"),
        (bytes(1000), "not a checkpoint"),
        (data[:8] + struct.pack("<I", 2) + data[12:], "version 2"),
        (data[:-1], "cut off"),
        (data[:100] + b"\0" + data[101:], "checksum"),
    ]:
        with pytest.raises(CheckpointError, match=line):
            decode_checkpoint(wrong)


def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(3).astype(ml_dtypes.bfloat16)
    data = encode_checkpoint(Checkpoint(SWARM, 0, b"", b"", {"x": array}))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(CheckpointError, match="install ml_dtypes"):
        decode_checkpoint(data)


def _result_or_error(data: bytes) -> None:
    try:
        checkpoint = decode_checkpoint(data)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        # Only what a checkpoint can say is read back, so writing it again must succeed.
        decode_checkpoint(encode_checkpoint(checkpoint))


@settings(max_examples=3000)
@given(st.binary(max_size=400))
@example(b"")
def test_any_bytes(data: bytes) -> None:
    _result_or_error(data)
    _result_or_error(b"\x89LRNCK\r\n" + data)
    _result_or_error(seal(data))


def test_many_splices_sealed_again() -> None:
    print("seed 4711")
    rng = random.Random(4711)
    index = dagcbor.encode(INDEX)
    sections = sections_for(index, *PARTS)
    for _ in range(20_000):
        mutant = bytearray(index)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(mutant))
            mutant[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        _result_or_error(seal(bytes(mutant), sections[: rng.randint(0, 2 * len(sections))]))


@settings(max_examples=500)
@given(st.data())
def test_mutated_and_sealed_again(data: st.DataObject) -> None:
    mutant = bytearray(sealed({}, *PARTS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutant) - 1))
        n_cut = data.draw(st.integers(0, 4))
        mutant[at : at + n_cut] = data.draw(st.binary(max_size=4))
    index_nbytes = min(int.from_bytes(mutant[12:16].ljust(4, b"\0"), "little"), len(mutant))
    body = bytes(mutant[32:])
    _result_or_error(bytes(mutant))
    _result_or_error(seal(body[:index_nbytes], body[index_nbytes:]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)  # fmt: skip
ENTRIES = st.lists(
    st.tuples(
        st.text(max_size=3),
        st.sampled_from([*DTYPES, "bfloat16", "object"]) | VALUES,
        st.lists(st.integers(0, 4) | st.integers(-1, 2**60), max_size=4) | VALUES,
    )
    | VALUES,
    max_size=3,
)


@settings(max_examples=400)
@given(
    st.dictionaries(st.sampled_from(sorted(INDEX)), VALUES, max_size=3),
    ENTRIES | VALUES,
    st.binary(max_size=300),
)
def test_any_index_with_a_right_seal(
    changes: dict[str, Any], entries: object, sections: bytes
) -> None:
    try:
        index = dagcbor.encode({**INDEX, "params": 0, "peer": 0, "extra": entries, **changes})
    except (ValueError, UnicodeError):
        return  # a lone surrogate, or -2**64: not DAG-CBOR
    _result_or_error(seal(index, sections_for(index, b"") + sections))
