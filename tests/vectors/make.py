"""Make the golden payloads in this folder, from docs/payload.md and NumPy alone.

Nothing of learnae is imported, so that the files are a second opinion on the C code. Run

    python tests/vectors/make.py

to write them again (the bytes depend on nothing but this file), or with ``--check`` to compare.
Every later version must still read them: change them only together with the version number.

Files: ``any.f32`` and ``finite.f32`` are the inputs, ``NAME.payload`` the payloads, ``NAME.f32``
the decoded vectors one after the other, ``manifest.json`` one line for each payload.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["CASES", "Case", "build", "crc32c", "files", "write_or_check"]

Float32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]

CODEC_IDS = {"f32": 1, "bf16": 2, "f16": 3, "i8": 4, "i4": 5, "sign": 6, "ternary": 7}
FINITE_ONLY = ("i8", "i4", "sign", "ternary")
LEVELS_I4 = np.array([-127, -96, -74, -56, -41, -27, -13, 0, 12, 23, 36, 49, 63, 79, 99, 127])
FOLDER = Path(__file__).resolve().parent

# Zeros, ones, the edges of float32, float16 and bfloat16, and ties between their neighbours.
SPECIAL_BITS = [
    0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x00000001, 0x80000001, 0x007FFFFF,
    0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x477FE000, 0x477FEFFF, 0x477FF000, 0x47800000,
    0x38800000, 0x387FFFFF, 0x387FE000, 0x33800000, 0x33000000, 0x33000001, 0x32FFFFFF,
    0x3F808000, 0x3F818000, 0x3F808001, 0x3F801000, 0x3F803000, 0x3F801001, 0x7F7F7FFF,
    0x7F7F8000, 0x08800000, 0x087FFFFF,
]  # fmt: skip
NONFINITE_BITS = [
    0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FA12345,
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One payload: the first ``n_vectors * n_elements`` values of ``source``, encoded."""

    codec: str
    n_vectors: int
    n_elements: int
    block_length: int
    source: str

    @property
    def name(self) -> str:
        """The file name without its ending."""
        return f"{self.codec}-{self.n_vectors}x{self.n_elements}-b{self.block_length}"


CASES = [
    Case(codec, n_vectors, n_elements, block_length, "finite" if codec in FINITE_ONLY else "any")
    for codec in CODEC_IDS
    for n_vectors, n_elements, block_length in [
        (1, 1, 16384),
        (1, 700, 16384),
        (2, 300, 16384),
        (1, 700, 256),
        (2, 512, 256),
        (2, 650, 512),
        (4, 257, 256),
        (1, 256, 1048576),
    ]
]


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of ``data``, bit by bit through a table of one byte."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]
assert crc32c(b"123456789") == 0xE3069283


def sources() -> dict[str, Float32]:
    """Return the inputs: special values, then values of many magnitudes."""
    # Digests, because NumPy may change what its generators return.
    digests = b"".join(hashlib.sha256(b"learnae %d" % i).digest() for i in range(350))
    words = np.frombuffer(digests, dtype="<u4").reshape(2, 1400)
    noise = (words[0].astype(np.float64) * 2.0**-31 - 1).astype(np.float32)
    noise[100:400] *= np.float32(0.02)  # like a layer of a model: one magnitude
    noise[400:] *= np.exp2(words[1, 400:] % 48 - 30.0).astype(np.float32)
    noise[520:780] = 0.0
    noise[600] = np.float32(2.0**-111)  # a group of i8 that counts as zero
    special = np.array(SPECIAL_BITS, dtype=np.uint32).view(np.float32)
    nonfinite = np.array(NONFINITE_BITS, dtype=np.uint32).view(np.float32)
    finite = np.concatenate([noise[:5], special, noise[5:]])[:1300]
    both = np.concatenate([noise[:5], special, nonfinite, noise[5:]])[:1300]
    return {"any": both, "finite": finite}


def _canonical(values: Float32) -> Float32:
    bits = np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))
    return bits.view(np.float32)


def _encode_bf16(x: Float32) -> tuple[bytes, Float32]:
    bits = x.view(np.uint32).astype(np.uint64)
    half = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    half[np.isnan(x)] = 0x7FC0
    return half.astype("<u2").tobytes(), (half.astype(np.uint32) << 16).view(np.float32)


def _encode_f16(x: Float32) -> tuple[bytes, Float32]:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = x.astype(np.float16)
    half.view(np.uint16)[np.isnan(x)] = 0x7E00
    return half.astype("<f2").tobytes(), half.astype(np.float32)


def _decoded(scales: list[Float32], codes: list[Bytes]) -> Float32:
    with np.errstate(over="ignore"):  # 127 times a rounded scale may exceed the largest float
        values = [s * c.astype(np.float32) for s, c in zip(scales, codes, strict=True)]
    return np.concatenate(values).astype(np.float32)


def _as_i8(x: Float32, length: int) -> tuple[list[Float32], list[Bytes]]:
    scales, codes = [], []
    for start in range(0, x.size, length):
        group = x[start : start + length]
        largest = np.abs(group).max()
        zero = largest < np.float32(2.0**-110)
        scale = np.float32(0) if zero else largest / np.float32(127)
        factor = np.float32(0) if zero else np.float32(127) / largest
        scales.append(np.float32(scale))
        codes.append(np.rint(group * factor).astype(np.int8))
    return scales, codes


def _encode_i8(x: Float32) -> tuple[bytes, Float32]:
    scales, codes = _as_i8(x, 256)
    encoded = np.array(scales, dtype="<f4").tobytes() + np.concatenate(codes).tobytes()
    return encoded, _decoded(scales, codes)


def _encode_i4(x: Float32) -> tuple[bytes, Float32]:
    scales, codes = _as_i8(x, 64)
    levels = [
        np.array([min(range(16), key=lambda i: (abs(LEVELS_I4[i] - code), i)) for code in group])
        for group in codes
    ]
    halves = np.append(np.concatenate(levels), 0)[: x.size + x.size % 2]
    packed = (halves[::2] | halves[1::2] << 4).astype(np.uint8)
    encoded = np.array(scales, dtype="<f4").tobytes() + packed.tobytes()
    return encoded, _decoded(scales, [LEVELS_I4[group] for group in levels])


def _mean(magnitudes: list[tuple[int, np.float32]]) -> np.float32:
    """Return the mean, summed in eight lanes by each element's index; 0 of none."""
    lanes = [np.float32(0)] * 8
    with np.errstate(over="ignore"):
        for i, magnitude in magnitudes:
            lanes[i % 8] += magnitude
        total = lanes[0]
        for lane in lanes[1:]:
            total += lane
        factor = np.float32(1) / np.float32(max(1, len(magnitudes)))
        return min(total * factor, np.finfo(np.float32).max)


def _encode_sign(x: Float32) -> tuple[bytes, Float32]:
    groups = [x[start : start + 256] for start in range(0, x.size, 256)]
    scales = [_mean(list(enumerate(np.abs(group)))) for group in groups]
    packed = np.packbits(np.signbit(x), bitorder="little").tobytes()
    codes = [np.where(np.signbit(group), -1, 1) for group in groups]
    return np.array(scales, dtype="<f4").tobytes() + packed, _decoded(scales, codes)


def _encode_ternary(x: Float32) -> tuple[bytes, Float32]:
    scales, codes = [], []
    for start in range(0, x.size, 256):
        magnitudes = list(enumerate(np.abs(x[start : start + 256])))
        threshold = np.float32(0.7) * _mean(magnitudes)
        above = [(i, magnitude) for i, magnitude in magnitudes if magnitude > threshold]
        scales.append(_mean(above))
        code = np.zeros(len(magnitudes), np.int64)
        code[[i for i, _ in above]] = 1
        codes.append(np.where(np.signbit(x[start : start + 256]), -code, code))
    pairs = np.append(np.concatenate(codes) & 3, [0, 0, 0])[: -(-x.size // 4) * 4].reshape(-1, 4)
    packed = (pairs << np.array([0, 2, 4, 6])).sum(axis=1).astype(np.uint8)
    return np.array(scales, dtype="<f4").tobytes() + packed.tobytes(), _decoded(scales, codes)


def _encode(codec: str, x: Float32) -> tuple[bytes, Float32]:
    if codec == "f32":
        return x.astype("<f4").tobytes(), x  # all bits, those of a NaN too
    encoders = {
        "bf16": _encode_bf16, "f16": _encode_f16, "i8": _encode_i8, "i4": _encode_i4,
        "sign": _encode_sign, "ternary": _encode_ternary,
    }  # fmt: skip
    encoded, decoded = encoders[codec](x)
    return encoded, _canonical(decoded)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 64)


def build(case: Case, values: Float32) -> tuple[bytes, Float32]:
    """Return the payload of a case and its decoded vectors, one after the other."""
    blocks: list[bytes] = []
    decoded: list[Float32] = []
    for vector in values[: case.n_vectors * case.n_elements].reshape(case.n_vectors, -1):
        for start in range(0, case.n_elements, case.block_length):
            block, out = _encode(case.codec, vector[start : start + case.block_length])
            blocks.append(_padded(block))
            decoded.append(out)
    table = _padded(b"".join(struct.pack("<II", len(b), crc32c(b)) for b in blocks))
    nbytes = 128 + len(table) + sum(map(len, blocks))
    header = struct.pack(
        "<8sHHIQII32sQI48x",
        b"\x89LRNAE\r\n", 1, CODEC_IDS[case.codec], case.n_vectors, case.n_elements,
        case.block_length, len(blocks), hashlib.sha256(case.name.encode()).digest(), nbytes,
        crc32c(table),
    )  # fmt: skip
    payload = header + struct.pack("<I", crc32c(header)) + table + b"".join(blocks)
    assert len(payload) == nbytes
    return payload, np.concatenate(decoded)


def files() -> dict[str, bytes]:
    """Return the content of every file of this folder, by name."""
    inputs = sources()
    result = {f"{name}.f32": values.astype("<f4").tobytes() for name, values in inputs.items()}
    lines = []
    for case in CASES:
        payload, decoded = build(case, inputs[case.source])
        result[f"{case.name}.payload"] = payload
        result[f"{case.name}.f32"] = decoded.astype("<f4").tobytes()
        entry = {
            "name": case.name,
            "codec": case.codec,
            "n_vectors": case.n_vectors,
            "n_elements": case.n_elements,
            "block_length": case.block_length,
            "source": f"{case.source}.f32",
            "nbytes": len(payload),
            "schema_digest": payload[32:64].hex(),
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
            "decoded_sha256": hashlib.sha256(result[f"{case.name}.f32"]).hexdigest(),
        }
        lines.append(json.dumps(entry))
    result["manifest.json"] = ("[\n" + ",\n".join(lines) + "\n]\n").encode()
    return result


def write_or_check(folder: Path, wanted: dict[str, bytes], arguments: list[str]) -> int:
    """Write the files, or with ``--check`` name those that differ."""
    if arguments == ["--check"]:
        wrong = [
            name
            for name, data in wanted.items()
            if not (folder / name).is_file() or (folder / name).read_bytes() != data
        ]
        print("differ:" if wrong else "all golden files are as make.py makes them", *wrong)
        return 1 if wrong else 0
    for name, data in wanted.items():
        (folder / name).write_bytes(data)
    print(f"{len(wanted)} files, {sum(map(len, wanted.values()))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(write_or_check(FOLDER, files(), sys.argv[1:]))
