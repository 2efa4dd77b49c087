"""What a peer needs to go on after a restart, as one file.

::

    header   32 bytes   magic, version, size of the index, size of the file, CRC-32C
    index               DAG-CBOR: round, swarm id, time, and what the sections are
    sections            params, peer state, extra arrays; each starts at a multiple of 64

The CRC-32C covers every byte but its own field. It is there for torn and rotten files: who
can write into the peer's folder can also write its key, so a signature would add nothing.
Reading takes any bytes whatever, and gives a `Checkpoint` or a `CheckpointError`; every size
is compared with the bytes that are there before anything is allocated for it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import CheckpointError
from learnae.swarm import dagcbor
from learnae.transports.seam import Buffer

__all__ = [
    "MAX_CHECKPOINT_NBYTES",
    "Checkpoint",
    "checkpoint_chunks",
    "decode_checkpoint",
    "encode_checkpoint",
]

#: Largest file that is read at all: 50 million params with Adam's state and two gradients
#: take 1.2 GB.
MAX_CHECKPOINT_NBYTES = 1 << 33
MAX_INDEX_NBYTES = 1 << 22
MAX_DIMENSIONS = 32

_MAGIC = b"\x89LRNCK\r\n"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQI4x")
_CRC_AT = 24
_ALIGNMENT = 64
#: bfloat16 is ml_dtypes', which comes with JAX; the others are NumPy's own.
_NATIVE_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_DTYPES = frozenset((*_NATIVE_DTYPES, "bfloat16"))
_KEYS = frozenset(("round", "swarm", "saved", "params", "peer", "extra"))


@dataclass(frozen=True)
class Checkpoint:
    """The state of one peer between two rounds.

    Attributes
    ----------
    swarm_id
        32 bytes.
    round
        Rounds completed.
    params
        Payload of the params, codec f32.
    peer_state
        What the protocol side remembers, encoded by it.
    extra
        Arrays of the training side by name: optimizer state, gradients.
    saved_at
        Seconds since 1970.
    """

    swarm_id: bytes
    round: int
    params: bytes
    peer_state: bytes
    extra: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    saved_at: float = 0.0


class _Section(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Encode a checkpoint as the bytes of its file; see `checkpoint_chunks`."""
    return b"".join(checkpoint_chunks(checkpoint))


def checkpoint_chunks(checkpoint: Checkpoint) -> list[Buffer]:
    """Encode a checkpoint as buffers to be written one after the other.

    The arrays are not copied unless they must be: they must not change until the buffers have
    been written.

    Raises
    ------
    ValueError
        An array of a dtype that a checkpoint cannot hold, or far too many arrays.
    """
    arrays = [(name, _storable(name, array)) for name, array in checkpoint.extra.items()]
    index = dagcbor.encode(
        {
            "round": checkpoint.round,
            "swarm": checkpoint.swarm_id.hex(),
            "saved": float(checkpoint.saved_at),
            "params": len(checkpoint.params),
            "peer": len(checkpoint.peer_state),
            "extra": [[name, array.dtype.name, list(array.shape)] for name, array in arrays],
        }
    )
    if len(index) > MAX_INDEX_NBYTES:
        raise ValueError(f"a checkpoint's index is at most {MAX_INDEX_NBYTES} bytes")
    body: list[Buffer] = [index]
    sections: list[bytes | memoryview] = [
        checkpoint.params,
        checkpoint.peer_state,
        *(_bytes_of(a) for _, a in arrays),
    ]
    nbytes = _HEADER.size + len(index)
    for section in sections:
        padding = -nbytes % _ALIGNMENT
        body += [bytes(padding), section]
        nbytes += padding + len(section)
    head = _HEADER.pack(_MAGIC, _VERSION, len(index), nbytes, 0)[:_CRC_AT]
    return [head + struct.pack("<I4x", _crc([head, *body])), *body]


def decode_checkpoint(data: Buffer) -> Checkpoint:
    """Decode the bytes of a checkpoint file.

    Returns
    -------
    Checkpoint
        Owning its bytes and arrays: `data` may be released.

    Raises
    ------
    CheckpointError
        For any bytes that `encode_checkpoint` of this version did not write.
    """
    with memoryview(data) as whole, whole.cast("B") as view:
        start, index = _open_index(view)
        params_nbytes = _natural(index, "params")
        peer_nbytes = _natural(index, "peer")
        sections = [
            _Section("params", "", (), params_nbytes),
            _Section("peer", "", (), peer_nbytes),
        ]
        sections += _read_extra(index["extra"])
        parts = _cut(view, start, [section.nbytes for section in sections])
        extra = {s.name: _array(s, p) for s, p in zip(sections[2:], parts[2:], strict=True)}
        return Checkpoint(
            swarm_id=_read_swarm(index["swarm"]),
            round=_natural(index, "round"),
            params=bytes(parts[0]),
            peer_state=bytes(parts[1]),
            extra=extra,
            saved_at=_read_time(index["saved"]),
        )


def _storable(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    array = np.asarray(array, order="C")
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"array {name!r} has dtype {array.dtype}, which a checkpoint cannot hold")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _bytes_of(array: NDArray[np.generic]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _crc(chunks: Sequence[Buffer]) -> int:
    crc = 0
    for chunk in chunks:
        crc = kernels.crc32c(chunk, crc)
    return crc


def _open_index(view: memoryview) -> tuple[int, dict[str, Any]]:
    """Check header and checksum, and read the index; return where the sections start."""
    if view.nbytes < _HEADER.size:
        raise CheckpointError(f"{view.nbytes} bytes are too few for a checkpoint")
    magic, version, index_nbytes, nbytes, crc = _HEADER.unpack_from(view)
    if magic != _MAGIC:
        raise CheckpointError("this is not a checkpoint")
    if version != _VERSION:
        raise CheckpointError(f"this is a checkpoint of version {version}, not {_VERSION}")
    start = _HEADER.size + index_nbytes
    if nbytes != view.nbytes or index_nbytes > MAX_INDEX_NBYTES or start > nbytes:
        raise CheckpointError(f"the checkpoint is cut off: {view.nbytes} of {nbytes} bytes")
    if _crc([view[:_CRC_AT], view[_HEADER.size :]]) != crc or any(view[28:32]):
        raise CheckpointError("the checkpoint is damaged: its checksum disagrees")
    try:
        index = dagcbor.decode(bytes(view[_HEADER.size : start]))
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's index is not DAG-CBOR: {error}") from error
    if not isinstance(index, dict) or index.keys() != _KEYS:
        raise CheckpointError("the checkpoint's index has other entries than it should")
    return start, index


def _natural(index: Mapping[str, Any], key: str) -> int:
    value = index[key]
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise CheckpointError(f"the checkpoint's {key!r} is not a natural number")
    return value


def _read_swarm(value: object) -> bytes:
    if isinstance(value, str) and len(value) == 64:
        try:
            swarm_id = bytes.fromhex(value)
        except ValueError:
            swarm_id = b""
        if swarm_id.hex() == value:
            return swarm_id
    raise CheckpointError("the checkpoint's swarm id is not 64 hexadecimal digits")


def _read_time(value: object) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise CheckpointError("the checkpoint's time is not a number")
    return value


def _read_extra(value: object) -> list[_Section]:
    if not isinstance(value, list):
        raise CheckpointError("the checkpoint's list of arrays is not a list")
    sections = [_read_section(entry) for entry in value]
    if len({section.name for section in sections}) != len(sections):
        raise CheckpointError("the checkpoint names an array twice")
    return sections


def _read_section(entry: object) -> _Section:
    if isinstance(entry, list) and len(entry) == 3:
        name, dtype, shape = entry
        if isinstance(name, str) and isinstance(dtype, str) and isinstance(shape, list):
            if dtype not in _DTYPES:
                raise CheckpointError(f"the checkpoint has an array of dtype {dtype[:40]!r}")
            if len(shape) > MAX_DIMENSIONS or not all(
                type(n) is int and 0 <= n < 1 << 53 for n in shape
            ):
                raise CheckpointError("the checkpoint has an array of impossible shape")
            nbytes = math.prod(shape) * _dtype(dtype).itemsize
            return _Section(name, dtype, tuple(shape), nbytes)
    raise CheckpointError("the checkpoint's list of arrays has an entry that is none")


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        try:
            import ml_dtypes  # registers the name with NumPy
        except ImportError as error:
            raise CheckpointError(
                "the checkpoint holds bfloat16 arrays: pip install ml_dtypes"
            ) from error
        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    dtype: np.dtype[Any] = np.dtype(name).newbyteorder("<")
    return dtype


def _cut(view: memoryview, start: int, sizes: Sequence[int]) -> list[memoryview]:
    """Cut the sections out; they must end exactly where the bytes end."""
    parts = []
    for nbytes in sizes:
        start += -start % _ALIGNMENT
        parts.append(view[start : start + nbytes])
        start += nbytes
    if start != view.nbytes:
        raise CheckpointError(f"the checkpoint's sections take {start} bytes of {view.nbytes}")
    return parts


def _array(section: _Section, part: memoryview) -> NDArray[np.generic]:
    try:
        raw = np.frombuffer(part, dtype=np.uint8)
        if section.dtype == "bool" and raw.max(initial=0) > 1:
            raise CheckpointError(f"the checkpoint's array {section.name[:80]!r} is not boolean")
        array: NDArray[np.generic] = raw.view(_dtype(section.dtype)).reshape(section.shape)
    except ValueError as error:  # such as more elements than NumPy can count
        raise CheckpointError(f"the checkpoint's array {section.name[:80]!r}: {error}") from error
    return array.copy()
