"""Payloads written: blocks, their table, and the header before them."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba import checksum, delta, encoding, groups, sums, topk
from learnae.kernels._numba.geometry import BLOCK_LENGTH, HEADER, Geometry, n_groups, padded
from learnae.kernels._numba.jit import read_only
from learnae.kernels._numba.payloads import (
    MAGIC,
    NAMES,
    crc32c,
    handle_of,
    payload_decode,
    refuse,
)
from learnae.kernels._seam import CODECS, Float32, PayloadView, Status, WriteOptions, check

__all__ = ["payload_bound", "payload_nbytes", "payload_rebase", "payload_write"]

_DENSITY = 0.01


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
            message = f"codec {NAMES[codec]} cannot encode {value} {where}"
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
        _apply_delta(difference, vectors)
    return payload_write(CODECS["f32"], difference.schema_digest, vectors, WriteOptions())


def _apply_delta(difference: PayloadView, vectors: Sequence[Float32]) -> None:
    """Turn the base's vectors into the model's."""
    handle = handle_of(difference)
    length = handle.geometry.block_length
    for index, (at, nbytes, m) in enumerate(handle.blocks()):
        v, k = divmod(index, handle.geometry.blocks_per_vector)
        block = handle.raw.u8[at : at + nbytes]
        values = vectors[v][k * length : k * length + m].view(np.uint32)
        if not (delta.delta_valid(block, m) and delta.decode_delta(block, values)):
            refuse(
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
    fields = (MAGIC, 1, *counts, schema_digest, nbytes, table_crc, base, g.parameter, bytes(8))
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
