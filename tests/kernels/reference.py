"""The oracle: the header's arithmetic and docs/payload.md once more, in plain NumPy.

Written from the specification and sharing no line with either backend.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from kernels import groups
from numpy.typing import NDArray

__all__ = [
    "CODECS",
    "IDS",
    "HEADER_NBYTES",
    "average",
    "bits",
    "canonical",
    "crc32c",
    "decode_block",
    "encode_block",
    "floats",
    "framed",
    "mix",
    "padded",
    "payload",
    "seal",
    "with_table",
]

Float32 = NDArray[np.float32]
CODECS = {"f32": 1, "bf16": 2, "f16": 3, "i8": 4, "i4": 5, "sign": 6, "ternary": 7}
# With those that have an oracle of their own.
IDS = {**CODECS, "topk": 8, "delta": 9, "i8z": 10, "i4z": 11}
HEADER_NBYTES = 128
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0, 65504.0, 65520.0, 3.4028235e38]


def bits(array: NDArray[np.generic]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(array, np.float32).view(np.uint32)


def canonical(array: Float32) -> Float32:
    array[np.isnan(array)] = np.uint32(0x7FC00000).view(np.float32)
    return array


def floats(rng: np.random.Generator, n: int, *, finite: bool = False) -> Float32:
    """Draw normal numbers, any bit patterns, subnormals and special values, mixed."""
    kind = rng.integers(0, 8, n)
    array = (rng.standard_normal(n) * 10.0 ** rng.integers(-3, 3)).astype(np.float32)
    any_bits = rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)
    subnormal = rng.integers(0, 2**23, n, dtype=np.uint32).view(np.float32)
    special = rng.choice(np.array(SPECIAL, np.float32), n)
    for value, drawn in ((5, any_bits), (6, subnormal), (7, special)):
        array = np.where(kind == value, drawn, array)
    if finite:
        array[~np.isfinite(array)] = 0.5
    return array.astype(np.float32, copy=False)


def average(models: Sequence[Float32], weights: Sequence[float]) -> Float32:
    with np.errstate(all="ignore"):
        total = np.float32(weights[0]) * models[0]
        for model, weight in zip(models[1:], weights[1:], strict=True):
            total = total + np.float32(weight) * model
    return canonical(total)


def mix(params: Float32, mean: Float32, rate: float) -> Float32:
    rate32 = np.float32(rate)
    with np.errstate(all="ignore"):
        return canonical((np.float32(1) - rate32) * params + rate32 * mean)


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C bit by bit, over all bytes, as the polynomial says."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_OF_BYTE = [_crc_of_byte(byte) for byte in range(256)]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 64)


def encode_block(codec: str, x: Float32) -> bytes:
    """Encode one block, without padding."""
    with np.errstate(all="ignore"):
        if codec == "f32":
            return x.tobytes()
        if codec == "bf16":
            wide = bits(x).astype(np.uint64)
            half = ((wide + 0x7FFF + ((wide >> 16) & 1)) >> 16).astype(np.uint16)
            return np.where(np.isnan(x), np.uint16(0x7FC0), half).tobytes()
        if codec == "f16":
            half = x.astype(np.float16).view(np.uint16)
            return np.where(np.isnan(x), np.uint16(0x7E00), half).tobytes()
        return groups.encode(codec, x)


def decode_block(codec: str, data: bytes, m: int) -> Float32:
    with np.errstate(all="ignore"):
        if codec == "f32":
            return np.frombuffer(data, np.float32, m).copy()
        if codec == "bf16":
            wide = np.frombuffer(data, np.uint16, m).astype(np.uint32) << 16
            return canonical(wide.view(np.float32))
        if codec == "f16":
            return canonical(np.frombuffer(data, np.float16, m).astype(np.float32))
        scales, numbers = groups.unpack(codec, data, m)
        return canonical(scales * numbers)


def seal(payload: bytearray) -> bytearray:
    """Set the CRC of the header, whatever it says."""
    payload[124:128] = struct.pack("<I", crc32c(bytes(payload[:124])))
    return payload


def with_table(payload: bytearray, n_blocks: int) -> bytearray:
    """Set all CRCs anew after somebody changed blocks or table."""
    table_end = HEADER_NBYTES + len(padded(bytes(8 * n_blocks)))
    at = table_end
    for entry in range(HEADER_NBYTES, HEADER_NBYTES + 8 * n_blocks, 8):
        (nbytes,) = struct.unpack_from("<I", payload, entry)
        struct.pack_into("<I", payload, entry + 4, crc32c(bytes(payload[at : at + nbytes])))
        at += nbytes
    struct.pack_into("<I", payload, 72, crc32c(bytes(payload[HEADER_NBYTES:table_end])))
    return seal(payload)


def payload(
    codec: str,
    schema: bytes,
    vectors: Sequence[Float32],
    block_length: int = 16384,
    base_cid: bytes = bytes(36),
) -> bytes:
    """Write a payload as docs/payload.md specifies it."""
    blocks = [
        encode_block(codec, vector[i : i + block_length])
        for vector in vectors
        for i in range(0, vector.size, block_length)
    ]
    counts = (len(vectors), vectors[0].size, block_length)
    return framed(codec, schema, *counts, blocks, base_cid=base_cid)


def framed(
    codec: str,
    schema: bytes,
    n_vectors: int,
    n_elements: int,
    block_length: int,
    contents: Sequence[bytes],
    *,
    base_cid: bytes = bytes(36),
    parameter: int = 0,
) -> bytes:
    """Put header and table before blocks."""
    blocks = [padded(content) for content in contents]
    table = padded(b"".join(struct.pack("<II", len(b), crc32c(b)) for b in blocks))
    nbytes = HEADER_NBYTES + len(table) + sum(map(len, blocks))
    header = b"\x89LRNAE\r\n" + struct.pack("<HHI", 1, IDS[codec], n_vectors)
    header += struct.pack("<QII", n_elements, block_length, len(blocks)) + schema
    header += struct.pack("<QI", nbytes, crc32c(table)) + base_cid
    header += struct.pack("<I", parameter) + bytes(8)
    return header + struct.pack("<I", crc32c(header)) + table + b"".join(blocks)
