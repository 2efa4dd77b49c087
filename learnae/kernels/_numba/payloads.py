"""The numba twin of the compiled core: same functions, same bits, where there is no compiler.

Headers and tables are parsed here in plain Python; the loops are in `encoding` and `decoding`.
What is checked, and in which order, is the list in docs/payload.md, 'Reading hostile bytes'.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba import checksum, decoding, delta, encoding, groups, integers, sums, topk
from learnae.kernels._numba.geometry import (
    ALIGNMENT,
    BLOCK_LENGTH,
    BLOCK_STEP,
    CODES,
    HEADER,
    Geometry,
    n_groups,
    padded,
)
from learnae.kernels._numba.jit import bytes_of, read_only
from learnae.kernels._seam import CODECS, Buffer, Float32, PayloadView, Status, WriteOptions, check

__all__ = [
    "crc32c",
    "payload_accumulate",
    "payload_average",
    "payload_bound",
    "payload_decode",
    "payload_distance",
    "payload_nbytes",
    "payload_open",
    "payload_rebase",
    "payload_verify",
    "payload_write",
    "raw_and_block",
]

_MAGIC = b"\x89LRNAE\r\n"
_LENGTH_MAX = 1048576
_N_VECTORS_MAX = 4
_DENSITY = 0.01
_NAMES = {number: name for name, number in CODECS.items()}
_NO_REFERENCE = np.empty(0, np.float32)
_NO_REFERENCE.flags.writeable = False


@dataclass(frozen=True)
class _Handle:
    geometry: Geometry
    raw: decoding.Raw

    def blocks(self) -> list[tuple[int, int, int]]:
        """List each block as `Geometry.blocks` does; where sizes vary, by the table."""
        blocks = self.geometry.blocks()
        if self.geometry.varies:
            sizes = self.raw.u32[HEADER.size // 4 :: 2][: len(blocks)].tolist()
            ends = (self.geometry.first_block + np.cumsum(sizes)).tolist()
            blocks = [
                (end - size, size, m)
                for end, size, (_, _, m) in zip(ends, sizes, blocks, strict=True)
            ]
        return blocks

    def block(self, vector: int) -> decoding.Block:
        g = self.geometry
        start = g.first_block + vector * g.vector_nbytes
        return decoding.Block(
            g.codec, start, g.block_nbytes, g.block_length, g.n_elements, g.parameter
        )


def _handle(view: PayloadView) -> _Handle:
    assert isinstance(view.handle, _Handle), "a view of another backend"
    return view.handle


def raw_and_block(view: PayloadView, vector: int) -> tuple[decoding.Raw, decoding.Block]:
    """Return what the loops of `decoding` need of a vector."""
    handle = _handle(view)
    return handle.raw, handle.block(vector)


def crc32c(data: Buffer, crc: int) -> int:
    return checksum.crc32c(bytes_of(data), crc)


def payload_nbytes(codec: int, n_vectors: int, n_elements: int) -> int:
    if codec == CODECS["delta"]:
        message = "the size of a delta depends on its content: payload_bound is the most"
        check(Status.ARGUMENT, message)
    return payload_bound(codec, n_vectors, n_elements, 0.0)


def payload_bound(codec: int, n_vectors: int, n_elements: int, density: float) -> int:
    geometry = Geometry(codec, n_vectors, n_elements, BLOCK_LENGTH, _parameter(codec, density))
    if geometry.n_blocks >= 2**32:
        check(Status.SIZE, f"{n_elements} elements are too many for a payload", ours=True)
    return geometry.nbytes


def _parameter(codec: int, density: float) -> int:
    """Return how many elements a full block keeps: the part rounded to float32, then up."""
    part = float(np.float32(density or _DENSITY))
    return math.ceil(part * BLOCK_LENGTH) if codec == CODECS["topk"] else 0


def payload_write(
    codec: int, schema_digest: bytes, vectors: Sequence[Float32], options: WriteOptions
) -> bytearray:
    if codec == CODECS["delta"]:
        return _write_delta(schema_digest, vectors, options)
    if options.base is not None:
        vectors = [_sum(vector, options.base, v, -1.0) for v, vector in enumerate(vectors)]
    counts = (codec, len(vectors), vectors[0].size)
    geometry = Geometry(*counts, BLOCK_LENGTH, _parameter(codec, options.density))
    out = np.zeros(payload_bound(*counts, options.density), np.uint8)
    table = bytearray()
    for index, (at, nbytes, m) in enumerate(geometry.blocks()):
        vector, k = divmod(index, geometry.blocks_per_vector)
        first = k * BLOCK_LENGTH
        block = out[at : at + nbytes]
        bad = _encode_block(geometry, read_only(vectors[vector][first : first + m]), block)
        if bad >= 0:
            value = "NaN" if np.isnan(vectors[vector][first + bad]) else "an infinity"
            less = "" if options.base is None else " less its base"
            where = f"at element {first + bad} of vector {vector}{less}"
            message = f"codec {_NAMES[codec]} cannot encode {value} {where}"
            check(Status.NONFINITE, message, ours=True)
        table += struct.pack("<II", nbytes, checksum.crc32c(read_only(block)))
    return _framed(geometry, out, table, schema_digest, options.base_cid)


def _write_delta(
    schema_digest: bytes, vectors: Sequence[Float32], options: WriteOptions
) -> bytearray:
    if options.base is None:
        check(Status.ARGUMENT, "codec delta makes nothing without a base")
    geometry = Geometry(CODECS["delta"], len(vectors), vectors[0].size, BLOCK_LENGTH)
    out = np.zeros(geometry.nbytes, np.uint8)
    table, at = bytearray(), geometry.first_block
    for v, vector in enumerate(vectors):
        base = np.empty(vector.size, np.float32)
        payload_decode(cast(PayloadView, options.base), v, base)
        for first in range(0, vector.size, BLOCK_LENGTH):
            part = slice(first, first + BLOCK_LENGTH)
            content = delta.encode_delta(
                read_only(vector[part].view(np.uint32)),
                read_only(base[part].view(np.uint32)),
                out[at:],
            )
            block = out[at : at + padded(content)]
            table += struct.pack("<II", block.size, checksum.crc32c(read_only(block)))
            at += block.size
    return _framed(geometry, out[:at], table, schema_digest, options.base_cid)


def _framed(
    geometry: Geometry,
    out: NDArray[np.uint8],
    table: bytearray,
    schema_digest: bytes,
    base_cid: bytes,
) -> bytearray:
    """Put header and table before blocks."""
    table += bytes(geometry.first_block - HEADER.size - len(table))
    header = _header(geometry, schema_digest, out.size, crc32c(table, 0), base_cid)
    out[: geometry.first_block] = np.frombuffer(header + table, np.uint8)
    return bytearray(out)


def payload_rebase(base: PayloadView, difference: PayloadView) -> bytearray:
    vectors = []
    for v in range(difference.n_vectors):
        values = np.empty(base.n_elements, np.float32)
        payload_decode(base, v, values)
        if difference.codec != "delta":
            values = _sum(values, difference, v, 1.0)
        vectors.append(values)
    if difference.codec == "delta":
        _apply_delta(_handle(difference), vectors)
    return payload_write(CODECS["f32"], difference.schema_digest, vectors, WriteOptions())


def _apply_delta(handle: _Handle, vectors: Sequence[Float32]) -> None:
    """Turn the base's vectors into the model's."""
    length = handle.geometry.block_length
    for index, (at, nbytes, m) in enumerate(handle.blocks()):
        v, k = divmod(index, handle.geometry.blocks_per_vector)
        block = handle.raw.u8[at : at + nbytes]
        values = vectors[v][k * length : k * length + m].view(np.uint32)
        if not (delta.delta_valid(block, m) and delta.decode_delta(block, values)):
            _refuse(
                f"block {index} of the difference is wrong, or its base is not the one it was "
                "made with"
            )


def _sum(values: Float32, view: PayloadView, vector: int, sign: float) -> Float32:
    """Return ``values + sign * value``, which is rounded once."""
    result, decoded = values.copy(), np.empty(view.n_elements, np.float32)
    payload_decode(view, vector, decoded)
    sums.add_scaled(result, decoded, np.float32(sign))
    return result


def _header(
    geometry: Geometry, schema_digest: bytes, nbytes: int, table_crc: int, base: bytes
) -> bytes:
    g = geometry
    counts = (g.codec, g.n_vectors, g.n_elements, g.block_length, g.n_blocks)
    fields = (_MAGIC, 1, *counts, schema_digest, nbytes, table_crc, base, g.parameter, bytes(8))
    header = HEADER.pack(*fields, 0)[:-4]
    return header + struct.pack("<I", crc32c(header, 0))


def _encode_block(geometry: Geometry, src: Float32, block: NDArray[np.uint8]) -> int:
    """Encode into `block`; return the first element that cannot be encoded, or -1."""
    codec, m = geometry.codec, src.size
    if codec == CODECS["f32"]:
        block[: 4 * m].view(np.uint32)[:] = src.view(np.uint32)
    elif codec == CODECS["bf16"]:
        encoding.encode_bf16(src.view(np.uint32), block[: 2 * m].view(np.uint16))
    elif codec == CODECS["f16"]:
        encoding.encode_f16(src, block[: 2 * m].view(np.uint16))
    elif codec == CODECS["topk"]:
        topk.encode_topk(src, geometry.n_kept(m), block)
    else:
        scales = 4 * n_groups(codec, m)
        return groups.encode_groups(codec, src, block[:scales].view(np.float32), block[scales:])
    return -1


def payload_open(buffer: Buffer, max_elements: int) -> PayloadView:
    u8 = bytes_of(buffer)
    if u8.ctypes.data % 4:
        u8 = read_only(u8.copy())
    if u8.size < HEADER.size:
        _refuse(f"{u8.size} bytes are too few for a payload's header")
    fields = HEADER.unpack(u8[: HEADER.size].tobytes())
    magic, version, codec, n_vectors, n_elements, block_length, n_blocks = fields[:7]
    schema_digest, nbytes, table_crc, base, parameter, reserved, header_crc = fields[7:]
    if magic != _MAGIC:
        _refuse("not a payload: the magic bytes differ")
    if version != 1:
        _refuse(f"payload version {version} is not known; this is learnae's version 1")
    if header_crc != checksum.crc32c(u8[: HEADER.size - 4]):
        _refuse("the header is damaged: its checksum disagrees", Status.CHECKSUM)
    geometry = Geometry(codec, n_vectors, n_elements, block_length, parameter)
    _check_counts(geometry, max_elements)
    if base[0] != 1 and any(base):
        _refuse("the base is not named by a CIDv1")
    if codec == CODECS["delta"] and not base[0]:
        _refuse("codec delta without a base")
    if not (1 <= parameter <= block_length if codec == CODECS["topk"] else parameter == 0):
        _refuse(f"codec {_NAMES[codec]} does not take the parameter {parameter}")
    wanted = nbytes if geometry.varies else geometry.nbytes
    within = geometry.first_block <= nbytes <= geometry.nbytes
    if n_blocks != geometry.n_blocks or not within or nbytes != wanted or nbytes != u8.size:
        _refuse("n_blocks or nbytes does not follow from the counts")
    _check_table(geometry, u8, table_crc)
    if any(reserved):
        _refuse("reserved bytes of the header are not zero")
    raw = decoding.Raw(u8, u8.view(np.uint16), u8.view(np.uint32), u8.view(np.float32))
    return PayloadView(
        buffer=buffer,
        codec=_NAMES[codec],
        n_vectors=n_vectors,
        n_elements=n_elements,
        block_length=block_length,
        n_blocks=n_blocks,
        nbytes=nbytes,
        schema_digest=schema_digest,
        parameter=parameter,
        base=base if any(base) else b"",
        handle=_Handle(geometry, raw),
    )


def _refuse(message: str, status: Status = Status.FORMAT) -> None:
    check(status, message)


def _check_counts(geometry: Geometry, max_elements: int) -> None:
    if geometry.codec not in _NAMES:
        _refuse(f"codec {geometry.codec} is not known")
    if not 1 <= geometry.n_vectors <= _N_VECTORS_MAX:
        _refuse(f"{geometry.n_vectors} vectors, allowed are 1 to {_N_VECTORS_MAX}")
    if geometry.n_elements < 1:
        _refuse("a payload holds at least one element")
    length = geometry.block_length
    if not 1 <= length <= _LENGTH_MAX or length % BLOCK_STEP:
        _refuse(f"block length {length} is not a multiple of 256 up to {_LENGTH_MAX}")
    if geometry.n_elements > max_elements:
        message = f"{geometry.n_elements} elements a vector are more than the cap {max_elements}"
        _refuse(message, Status.SIZE)


def _check_table(geometry: Geometry, u8: NDArray[np.uint8], table_crc: int) -> None:
    table = u8[HEADER.size : geometry.first_block]
    if checksum.crc32c(table) != table_crc:
        _refuse("the block table is damaged: its checksum disagrees", Status.CHECKSUM)
    entries = table.view(np.uint32)
    sizes = entries[: 2 * geometry.n_blocks : 2].reshape(geometry.n_vectors, -1)
    last = padded(geometry.content_nbytes(geometry.block_elements(sizes.shape[1] - 1)))
    if geometry.varies:
        small = np.all(sizes[:, :-1] <= geometry.block_nbytes) and np.all(sizes[:, -1] <= last)
        whole = np.all(sizes > 0) and not np.any(sizes % ALIGNMENT)
        if not (small and whole and sizes.sum(dtype=np.int64) == u8.size - geometry.first_block):
            _refuse("the sizes of the blocks are too large, or do not make up the payload's")
    elif np.any(sizes[:, :-1] != geometry.block_nbytes) or np.any(sizes[:, -1] != last):
        _refuse("a block's size in the table does not follow from its elements")
    if np.any(entries[2 * geometry.n_blocks :]):
        _refuse("padding of the block table is not zero")


def payload_verify(view: PayloadView) -> None:
    handle = _handle(view)
    geometry, raw = handle.geometry, handle.raw
    crcs = raw.u32[HEADER.size // 4 + 1 :: 2]
    for index, (at, nbytes, m) in enumerate(handle.blocks()):
        block = raw.u8[at : at + nbytes]
        if checksum.crc32c(block) != crcs[index]:
            _refuse(f"block {index} is damaged: its checksum disagrees", Status.CHECKSUM)
        if geometry.varies:
            if not delta.delta_valid(block, m):
                _refuse(f"parts of block {index} are wrong")
            continue
        if block[geometry.content_nbytes(m) :].any():
            _refuse(f"padding of block {index} is not zero")
        if geometry.codec == CODECS["topk"]:
            if not topk.topk_valid(raw.u8, at, m, geometry.n_kept(m)):
                _refuse(f"indices of block {index} are wrong")
            continue
        scales = raw.f32[at // 4 : at // 4 + n_groups(geometry.codec, m)]
        if not (np.isfinite(scales) & (scales >= 0)).all():
            _refuse(f"a scale of block {index} is negative or not finite")
        used = m * CODES[geometry.codec][0] % 8
        if used and block[geometry.content_nbytes(m) - 1] >> used:
            _refuse(f"bits behind the last code of block {index} are not zero")
        if geometry.codec == CODECS["ternary"]:
            pairs = block[4 * scales.size :]
            if (pairs & ~(pairs << 1) & 0xAA).any():
                _refuse(f"block {index} has a ternary code of 2")


def payload_decode(view: PayloadView, vector: int, out: Float32) -> None:
    handle = _handle(view)
    decoding.decode(handle.raw, handle.block(vector), decoding.F16_VALUES, out)


def payload_accumulate(view: PayloadView, vector: int, weight: float, acc: Float32) -> None:
    handle = _handle(view)
    block = handle.block(vector)
    if view.codec in integers.INTEGER_CODECS:
        integers.average_integers(acc, [(handle.raw, block)], np.full(1, weight, np.float32))
        return
    decoding.accumulate(handle.raw, block, decoding.F16_VALUES, np.float32(weight), acc)


def payload_average(
    dst: Float32, own_weight: float, views: Sequence[PayloadView], weights: Float32, vector: int
) -> None:
    # As the compiled core does: sparse values are added to what is there.
    if not views or views[0].codec != "topk" or own_weight != 1.0:
        sums.scale(dst, read_only(dst), np.float32(own_weight))
    done = 0
    while done < len(views):
        n = integers.n_in_pass([view.codec for view in views[done:]])
        if n == 1:
            payload_accumulate(views[done], vector, weights[done], dst)
        else:
            sources = [raw_and_block(view, vector) for view in views[done : done + n]]
            integers.average_integers(dst, sources, weights[done : done + n])
        done += n


def payload_distance(
    view: PayloadView, vector: int, reference: Float32 | None
) -> tuple[float, float]:
    handle = _handle(view)
    floats = _NO_REFERENCE if reference is None else read_only(reference)
    bad, far, norm = decoding.distance(
        handle.raw, handle.block(vector), decoding.F16_VALUES, floats
    )
    if bad >= 0:
        message = f"the payload has NaN or an infinity at element {bad} of vector {vector}"
        check(Status.NONFINITE, message)
    return far, norm
