"""Codecs i8z and i4z: blocks of i8 and i4 with their codes in a prefix code.

The bytes are in docs/payload.md, the reasons in core/src/packed.h.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from learnae.kernels._buffers import unfilled
from learnae.kernels._numba import checksum
from learnae.kernels._numba.geometry import CODES, HEADER, Geometry, n_groups, padded
from learnae.kernels._numba.jit import jit, read_only
from learnae.kernels._numba.packed import (
    AT_SCALES,
    AT_SIZES,
    AT_STREAMS,
    CODED,
    N_CODES,
    RAW,
    lengths_of,
    n_code_bytes,
    packed_valid,
    spare_zero,
)
from learnae.kernels._numba.payloads import handle_of, refuse
from learnae.kernels._numba.prefix import (
    N_STREAMS,
    TABLE_LENGTH,
    code_lengths,
    code_table,
    code_words,
    put_bits,
    window_at,
)
from learnae.kernels._seam import CODECS, Bytes, PayloadView

__all__ = ["payload_pack", "payload_unpack"]


@jit
def _write(stream: int, codes: Any, words: Any, lengths: Any, out: Any) -> None:
    at = 0
    for i in range(stream, codes.size, N_STREAMS):
        at = put_bits(out, at, words[codes[i]], np.int64(lengths[codes[i]]))


@jit
def _read(stream: int, data: Any, table: Any, lengths: Any, codes: Any) -> Any:
    """Set the stream's codes; return where it ends."""
    at: Any = 0
    for i in range(stream, codes.size, N_STREAMS):
        code = table[window_at(data, at) & (TABLE_LENGTH - 1)]
        codes[i] = code
        at += np.int64(lengths[code])
    return at


def _pack_codes(codes: Bytes) -> bytes | None:
    """Return what follows the scales of a coded block; None where that is not smaller."""
    lengths = code_lengths(np.bincount(codes, minlength=N_CODES))
    n_bits = lengths[codes].astype(np.int64)
    sizes = [(int(n_bits[k::N_STREAMS].sum()) + 7) // 8 for k in range(N_STREAMS)]
    if AT_STREAMS + sum(sizes) >= codes.size:
        return None
    out, at = np.zeros(AT_STREAMS + sum(sizes), np.uint8), AT_STREAMS
    out[:AT_SIZES] = lengths[::2] | lengths[1::2] << 4
    out[AT_SIZES:AT_STREAMS] = np.array(sizes, "<u4").view(np.uint8)
    words = code_words(lengths)
    for k, size in enumerate(sizes):
        _write(k, codes, words, lengths, out[at : at + size])
        at += size
    return out.tobytes()


def _unpack_codes(tail: Bytes, codes: Bytes) -> bool:
    """Set the codes of a coded block; return whether its streams are right."""
    lengths, at, good = lengths_of(tail), AT_STREAMS, True
    table = code_table(lengths)
    sizes = np.frombuffer(tail[AT_SIZES:AT_STREAMS].tobytes(), "<u4").tolist()
    for k, size in enumerate(sizes):
        data = read_only(tail[at : at + size])
        end = int(_read(k, data, table, lengths, codes))
        good = good and (end + 7) // 8 == size and not (end % 8 and data[-1] >> (end % 8))
        at += size
    return good


def _sealed(view: PayloadView, codec: int, table: bytes, blocks: bytearray) -> bytearray:
    """Put header and table before blocks: those of `view` but for codec, sizes and checksums."""
    table += bytes(padded(len(table)) - len(table))
    fields = list(HEADER.unpack(handle_of(view).raw.u8[: HEADER.size].tobytes()))
    fields[2], fields[8] = codec, HEADER.size + len(table) + len(blocks)
    fields[9] = checksum.crc32c(read_only(np.frombuffer(table, np.uint8)))
    header = HEADER.pack(*fields)[:-4]
    header += struct.pack("<I", checksum.crc32c(read_only(np.frombuffer(header, np.uint8))))
    out = unfilled(fields[8])
    out[: HEADER.size], out[HEADER.size : HEADER.size + len(table)] = header, table
    out[HEADER.size + len(table) :] = blocks
    return out


def _entry(block: bytes) -> bytes:
    return struct.pack("<II", len(block), checksum.crc32c(np.frombuffer(block, np.uint8)))


def payload_pack(view: PayloadView, codec: str) -> bytearray:
    handle, table, blocks = handle_of(view), bytearray(), bytearray()
    plain = handle.geometry.codec
    for at, _, m in handle.blocks():
        n_scales, n = 4 * n_groups(plain, m), n_code_bytes(CODES[plain], m)
        scales = handle.raw.u8[at : at + n_scales]
        codes = handle.raw.u8[at + n_scales : at + n_scales + n]
        tail = _pack_codes(codes)
        head = bytes([RAW if tail is None else CODED, 0, 0, 0]) + scales.tobytes()
        block = head + (codes.tobytes() if tail is None else tail)
        block += bytes(padded(len(block)) - len(block))
        table += _entry(block)
        blocks += block
    return _sealed(view, CODECS[codec], bytes(table), blocks)


def payload_unpack(view: PayloadView, codec: str) -> bytearray:
    handle, table, blocks = handle_of(view), bytearray(), bytearray()
    geometry: Geometry = handle.geometry
    for index, (at, nbytes, m) in enumerate(handle.blocks()):
        shape = CODES[geometry.codec]
        n_scales, n = 4 * n_groups(geometry.codec, m), n_code_bytes(shape, m)
        packed = handle.raw.u8[at : at + nbytes]
        tail, codes = packed[AT_SCALES + n_scales :], np.zeros(n, np.uint8)
        good = packed_valid(shape, packed, m)
        if good and packed[0] == RAW:
            codes[:] = tail[:n]
        elif good:
            good = _unpack_codes(tail, codes)
        if not (good and spare_zero(shape, codes, m)):
            refuse(f"block {index} has codes that are wrong")
        block = packed[AT_SCALES : AT_SCALES + n_scales].tobytes() + codes.tobytes()
        block += bytes(padded(len(block)) - len(block))
        table += _entry(block)
        blocks += block
    return _sealed(view, CODECS[codec], bytes(table), blocks)
