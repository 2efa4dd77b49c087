"""Payloads written: blocks, their table, and the header before them."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import cast

import numpy as np

from learnae.kernels._buffers import unfilled
from learnae.kernels._numba import checksum, delta, encoding, groups, sums, topk
from learnae.kernels._numba.geometry import BLOCK_LENGTH, HEADER, Geometry, n_groups, padded
from learnae.kernels._numba.jit import read_only
from learnae.kernels._numba.leaves import Leaves
from learnae.kernels._numba.payloads import (
    MAGIC,
    NAMES,
    crc32c,
    handle_of,
    payload_decode,
    refuse,
)
from learnae.kernels._seam import CODECS, Bytes, Float32, PayloadView, Status, WriteOptions, check

__all__ = ["payload_bound", "payload_nbytes", "payload_rebase", "payload_write"]

_DENSITY = 0.01


def payload_nbytes(codec: int, n_vectors: int, n_elements: int) -> int:
    if Geometry(codec, n_vectors, n_elements, BLOCK_LENGTH).varies:
        message = f"the size of {NAMES[codec]} depends on its content: payload_bound is the most"
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
    codec: int,
    schema_digest: bytes,
    vectors: Sequence[Sequence[Float32]],
    options: WriteOptions,
    out: Bytes,
) -> int:
    if out.ctypes.data % 4:
        aligned = np.empty(out.size, np.uint8)
        nbytes = payload_write(codec, schema_digest, vectors, options, aligned)
        out[:nbytes] = aligned[:nbytes]
        return nbytes
    parameter = _parameter(codec, options.density)
    rows = [Leaves(vector) for vector in vectors]
    geometry = Geometry(codec, len(rows), rows[0].size, BLOCK_LENGTH, parameter)
    if geometry.varies:
        table, nbytes = _write_delta(geometry, rows, options.base, out)
    else:
        table, nbytes = _write_blocks(geometry, rows, options.base, out), geometry.nbytes
    table += bytes(geometry.first_block - HEADER.size - len(table))
    header = _header(geometry, schema_digest, nbytes, crc32c(table, 0), options.base_cid)
    out[: geometry.first_block] = np.frombuffer(header + table, np.uint8)
    return nbytes


def _write_blocks(
    geometry: Geometry, vectors: Sequence[Leaves], base: PayloadView | None, out: Bytes
) -> bytearray:
    """Write the blocks to their places; return the table, without padding."""
    if base is not None:
        wholes = (vector.part(0, vector.size) for vector in vectors)
        vectors = [Leaves([_sum(whole, base, v, -1.0)]) for v, whole in enumerate(wholes)]
    table = bytearray()
    for index, (at, nbytes, m) in enumerate(geometry.blocks()):
        vector, k = divmod(index, geometry.blocks_per_vector)
        block = out[at : at + nbytes]
        values = vectors[vector].part(k * BLOCK_LENGTH, m)
        bad = _encode_block(geometry, read_only(values), block)
        if bad >= 0:
            value = "NaN" if np.isnan(values[bad]) else "an infinity"
            less = "" if base is None else " less its base"
            where = f"at element {k * BLOCK_LENGTH + bad} of vector {vector}{less}"
            message = f"codec {NAMES[geometry.codec]} cannot encode {value} {where}"
            check(Status.NONFINITE, message, ours=True)
        table += struct.pack("<II", nbytes, checksum.crc32c(read_only(block)))
    return table


def _write_delta(
    geometry: Geometry, vectors: Sequence[Leaves], base: PayloadView | None, out: Bytes
) -> tuple[bytearray, int]:
    """Write the blocks one behind the other; return the table and where they end."""
    if base is None:
        check(Status.ARGUMENT, "codec delta makes nothing without a base")
    table, at = bytearray(), geometry.first_block
    for v, vector in enumerate(vectors):
        values = np.empty(vector.size, np.float32)
        payload_decode(cast(PayloadView, base), v, values)
        for k in range(geometry.blocks_per_vector):
            first, m = k * BLOCK_LENGTH, geometry.block_elements(k)
            room = out[at : at + geometry.block_nbytes]
            room[:] = 0
            content = delta.encode_delta(
                read_only(vector.part(first, m).view(np.uint32)),
                read_only(values[first : first + m].view(np.uint32)),
                room,
            )
            block = out[at : at + padded(content)]
            table += struct.pack("<II", block.size, checksum.crc32c(read_only(block)))
            at += block.size
    return table, at


def payload_rebase(base: PayloadView, difference: PayloadView) -> bytearray:
    vectors, codec = [], CODECS["f32"]
    for v in range(difference.n_vectors):
        values = np.empty(base.n_elements, np.float32)
        payload_decode(base, v, values)
        if difference.codec != "delta":
            values = _sum(values, difference, v, 1.0)
        vectors.append(values)
    if difference.codec == "delta":
        _apply_delta(difference, vectors)
    out = unfilled(payload_nbytes(codec, difference.n_vectors, difference.n_elements))
    array = np.frombuffer(out, np.uint8)
    rows = [[vector] for vector in vectors]
    payload_write(codec, difference.schema_digest, rows, WriteOptions(), array)
    return out


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


def _encode_block(geometry: Geometry, src: Float32, block: Bytes) -> int:
    """Encode into `block`; return the first element that cannot be encoded, or -1."""
    codec, m = geometry.codec, src.size
    block[:] = 0
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
