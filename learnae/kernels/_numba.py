"""The numba twin of the compiled core: same functions, same bits, where there is no compiler.

Headers and tables are parsed here in plain Python; the loops are in `_numba_loops`. What is
checked, and in which order, is the list in docs/payload.md, 'Reading hostile bytes'.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels import _numba_loops as loops
from learnae.kernels._seam import CODECS, Buffer, Float32, PayloadView, Status, check

__all__ = [
    "average",
    "crc32c",
    "isa",
    "isas",
    "mix",
    "payload_accumulate",
    "payload_average",
    "payload_decode",
    "payload_distance",
    "payload_nbytes",
    "payload_open",
    "payload_verify",
    "payload_write",
    "set_isa",
]

_MAGIC = b"\x89LRNAE\r\n"
_HEADER = struct.Struct("<8sHHIQII32sQI48sI")
_ALIGNMENT = 64
_BLOCK_LENGTH = 16384
_BLOCK_LENGTH_MAX = 1048576
_N_VECTORS_MAX = 4
_I8 = CODECS["i8"]
_NAMES = {number: name for name, number in CODECS.items()}
_NO_REFERENCE = np.empty(0, np.float32)
_NO_REFERENCE.flags.writeable = False


@dataclass(frozen=True)
class _Geometry:
    """Where everything lies in a payload, as it follows from four numbers; sizes in bytes."""

    codec: int
    n_vectors: int
    n_elements: int
    block_length: int

    @property
    def blocks_per_vector(self) -> int:
        return -(-self.n_elements // self.block_length)

    @property
    def n_blocks(self) -> int:
        return self.blocks_per_vector * self.n_vectors

    @property
    def first_block(self) -> int:
        return _HEADER.size + _padded(8 * self.n_blocks)

    @property
    def nbytes(self) -> int:
        return self.first_block + self.n_vectors * self.vector_nbytes

    @property
    def block_nbytes(self) -> int:
        return _padded(self.content_nbytes(self.block_length))

    @property
    def vector_nbytes(self) -> int:
        last = self.block_elements(self.blocks_per_vector - 1)
        return (self.blocks_per_vector - 1) * self.block_nbytes + _padded(self.content_nbytes(last))

    def content_nbytes(self, n_elements: int) -> int:
        """Return the size of a block of so many elements before its padding."""
        if self.codec == _I8:
            return 4 * _n_groups(n_elements) + n_elements
        return (4 if self.codec == CODECS["f32"] else 2) * n_elements

    def block_elements(self, k: int) -> int:
        return min(self.block_length, self.n_elements - k * self.block_length)

    def blocks(self) -> list[tuple[int, int, int]]:
        """List each block's first byte, size with padding, and number of elements."""
        return [
            (
                self.first_block + v * self.vector_nbytes + k * self.block_nbytes,
                _padded(self.content_nbytes(self.block_elements(k))),
                self.block_elements(k),
            )
            for v in range(self.n_vectors)
            for k in range(self.blocks_per_vector)
        ]


@dataclass(frozen=True)
class _Handle:
    geometry: _Geometry
    raw: loops.Raw

    def block(self, vector: int) -> loops.Block:
        g = self.geometry
        start = g.first_block + vector * g.vector_nbytes
        return loops.Block(g.codec, start, g.block_nbytes, g.block_length, g.n_elements)


def _padded(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT


def _n_groups(n_elements: int) -> int:
    return -(-n_elements // loops.GROUP)


def _bytes(data: Buffer) -> NDArray[np.uint8]:
    """See a buffer as read-only bytes: one type, so that each loop is compiled once."""
    array = np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    array.flags.writeable = False
    return array


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _handle(view: PayloadView) -> _Handle:
    assert isinstance(view.handle, _Handle), "a view of another backend"
    return view.handle


def isa() -> str:
    return "numba"


def isas() -> tuple[str, ...]:
    return ("numba",)


def set_isa(name: str | None) -> None:
    if name not in (None, "best", "numba"):
        raise ValueError(f"no instruction set {name!r} here: one of numba")


def average(dst: Float32, models: Sequence[Float32], weights: Float32) -> None:
    # The sum needs its own place where dst is one of the later models.
    late = any(np.may_share_memory(dst, model) for model in models[1:])
    total = np.empty_like(dst) if late else dst
    loops.scale(total, _read_only(models[0]), weights[0])
    for model, weight in zip(models[1:], weights[1:], strict=True):
        loops.add_scaled(total, _read_only(model), weight)
    if late:
        dst[:] = total


def mix(params: Float32, mean: Float32, rate: float) -> None:
    if not 0.0 <= rate <= 1.0:
        check(Status.ARGUMENT, f"rate must be in [0, 1], not {rate}")
    rate32 = np.float32(rate)
    loops.mix(params, _read_only(mean), np.float32(1.0) - rate32, rate32)


def crc32c(data: Buffer, crc: int) -> int:
    return loops.crc32c(_bytes(data), crc)


def payload_nbytes(codec: int, n_vectors: int, n_elements: int) -> int:
    geometry = _Geometry(codec, n_vectors, n_elements, _BLOCK_LENGTH)
    if geometry.n_blocks >= 2**32:
        check(Status.SIZE, f"{n_elements} elements are too many for a payload", ours=True)
    return geometry.nbytes


def payload_write(codec: int, schema_digest: bytes, vectors: Sequence[Float32]) -> bytearray:
    geometry = _Geometry(codec, len(vectors), vectors[0].size, _BLOCK_LENGTH)
    out = np.zeros(payload_nbytes(codec, len(vectors), vectors[0].size), np.uint8)
    table = bytearray()
    for index, (at, nbytes, m) in enumerate(geometry.blocks()):
        vector, k = divmod(index, geometry.blocks_per_vector)
        first = k * _BLOCK_LENGTH
        block = out[at : at + nbytes]
        bad = _encode_block(codec, _read_only(vectors[vector][first : first + m]), block)
        if bad >= 0:
            value = "NaN" if np.isnan(vectors[vector][first + bad]) else "an infinity"
            message = f"codec i8 cannot encode {value} at element {first + bad} of vector {vector}"
            check(Status.NONFINITE, message, ours=True)
        table += struct.pack("<II", nbytes, loops.crc32c(_read_only(block)))
    table += bytes(geometry.first_block - _HEADER.size - len(table))
    header = _header(geometry, schema_digest, crc32c(table, 0))
    out[: geometry.first_block] = np.frombuffer(header + table, np.uint8)
    return bytearray(out)


def _header(geometry: _Geometry, schema_digest: bytes, table_crc: int) -> bytes:
    g = geometry
    counts = (g.codec, g.n_vectors, g.n_elements, g.block_length, g.n_blocks)
    fields = (_MAGIC, 1, *counts, schema_digest, g.nbytes, table_crc, bytes(48))
    header = _HEADER.pack(*fields, 0)[:-4]
    return header + struct.pack("<I", crc32c(header, 0))


def _encode_block(codec: int, src: Float32, block: NDArray[np.uint8]) -> int:
    """Encode into `block`; return the first element that cannot be encoded, or -1."""
    m = src.size
    if codec == CODECS["f32"]:
        block[: 4 * m].view(np.uint32)[:] = src.view(np.uint32)
    elif codec == CODECS["bf16"]:
        loops.encode_bf16(src.view(np.uint32), block[: 2 * m].view(np.uint16))
    elif codec == CODECS["f16"]:
        loops.encode_f16(src, block[: 2 * m].view(np.uint16))
    else:
        scales = 4 * _n_groups(m)
        codes = block[scales : scales + m].view(np.int8)
        return loops.encode_i8(src, block[:scales].view(np.float32), codes)
    return -1


def payload_open(buffer: Buffer, max_elements: int) -> PayloadView:
    u8 = _bytes(buffer)
    if u8.ctypes.data % 4:
        u8 = _read_only(u8.copy())
    if u8.size < _HEADER.size:
        _refuse(f"{u8.size} bytes are too few for a payload's header")
    fields = _HEADER.unpack(u8[: _HEADER.size].tobytes())
    magic, version, codec, n_vectors, n_elements, block_length, n_blocks = fields[:7]
    schema_digest, nbytes, table_crc, reserved, header_crc = fields[7:]
    if magic != _MAGIC:
        _refuse("not a payload: the magic bytes differ")
    if version != 1:
        _refuse(f"payload version {version} is not known; this is learnae's version 1")
    if header_crc != loops.crc32c(u8[: _HEADER.size - 4]):
        _refuse("the header is damaged: its checksum disagrees", Status.CHECKSUM)
    geometry = _Geometry(codec, n_vectors, n_elements, block_length)
    _check_counts(geometry, max_elements)
    if n_blocks != geometry.n_blocks or nbytes != geometry.nbytes or nbytes != u8.size:
        _refuse("n_blocks or nbytes does not follow from the counts")
    _check_table(geometry, u8, table_crc)
    if any(reserved):
        _refuse("reserved bytes of the header are not zero")
    raw = loops.Raw(u8, u8.view(np.uint16), u8.view(np.uint32), u8.view(np.float32))
    return PayloadView(
        buffer=buffer,
        codec=_NAMES[codec],
        n_vectors=n_vectors,
        n_elements=n_elements,
        block_length=block_length,
        n_blocks=n_blocks,
        nbytes=nbytes,
        schema_digest=schema_digest,
        handle=_Handle(geometry, raw),
    )


def _refuse(message: str, status: Status = Status.FORMAT) -> None:
    check(status, message)


def _check_counts(geometry: _Geometry, max_elements: int) -> None:
    if geometry.codec not in _NAMES:
        _refuse(f"codec {geometry.codec} is not known")
    if not 1 <= geometry.n_vectors <= _N_VECTORS_MAX:
        _refuse(f"{geometry.n_vectors} vectors, allowed are 1 to {_N_VECTORS_MAX}")
    if geometry.n_elements < 1:
        _refuse("a payload holds at least one element")
    length = geometry.block_length
    if not 1 <= length <= _BLOCK_LENGTH_MAX or length % loops.GROUP:
        _refuse(f"block length {length} is not a multiple of 256 up to {_BLOCK_LENGTH_MAX}")
    if geometry.n_elements > max_elements:
        message = f"{geometry.n_elements} elements a vector are more than the cap {max_elements}"
        _refuse(message, Status.SIZE)


def _check_table(geometry: _Geometry, u8: NDArray[np.uint8], table_crc: int) -> None:
    table = u8[_HEADER.size : geometry.first_block]
    if loops.crc32c(table) != table_crc:
        _refuse("the block table is damaged: its checksum disagrees", Status.CHECKSUM)
    entries = table.view(np.uint32)
    sizes = entries[: 2 * geometry.n_blocks : 2].reshape(geometry.n_vectors, -1)
    last = _padded(geometry.content_nbytes(geometry.block_elements(sizes.shape[1] - 1)))
    if np.any(sizes[:, :-1] != geometry.block_nbytes) or np.any(sizes[:, -1] != last):
        _refuse("a block's size in the table does not follow from its elements")
    if np.any(entries[2 * geometry.n_blocks :]):
        _refuse("padding of the block table is not zero")


def payload_verify(view: PayloadView) -> None:
    handle = _handle(view)
    geometry, raw = handle.geometry, handle.raw
    crcs = raw.u32[_HEADER.size // 4 + 1 :: 2]
    for index, (at, nbytes, m) in enumerate(geometry.blocks()):
        block = raw.u8[at : at + nbytes]
        if loops.crc32c(block) != crcs[index]:
            _refuse(f"block {index} is damaged: its checksum disagrees", Status.CHECKSUM)
        if block[geometry.content_nbytes(m) :].any():
            _refuse(f"padding of block {index} is not zero")
        if geometry.codec == _I8:
            scales = raw.f32[at // 4 : at // 4 + _n_groups(m)]
            if not (np.isfinite(scales) & (scales >= 0)).all():
                _refuse(f"a scale of block {index} is negative or not finite")


def payload_decode(view: PayloadView, vector: int, out: Float32) -> None:
    handle = _handle(view)
    loops.decode(handle.raw, handle.block(vector), loops.F16_VALUES, out)


def payload_accumulate(view: PayloadView, vector: int, weight: float, acc: Float32) -> None:
    handle = _handle(view)
    block = handle.block(vector)
    loops.accumulate(handle.raw, block, loops.F16_VALUES, np.float32(weight), acc)


def payload_average(
    dst: Float32, own_weight: float, views: Sequence[PayloadView], weights: Float32, vector: int
) -> None:
    loops.scale(dst, _read_only(dst), np.float32(own_weight))
    for view, weight in zip(views, weights, strict=True):
        payload_accumulate(view, vector, weight, dst)


def payload_distance(
    view: PayloadView, vector: int, reference: Float32 | None
) -> tuple[float, float]:
    handle = _handle(view)
    floats = _NO_REFERENCE if reference is None else _read_only(reference)
    bad, far, norm = loops.distance(handle.raw, handle.block(vector), loops.F16_VALUES, floats)
    if bad >= 0:
        message = f"the payload has NaN or an infinity at element {bad} of vector {vector}"
        check(Status.NONFINITE, message)
    return far, norm
