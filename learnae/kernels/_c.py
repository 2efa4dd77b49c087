"""The compiled core through cffi: pointers in, status out; no arithmetic and no policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from learnae._core import ffi, lib
from learnae.kernels._seam import CODECS, Buffer, Float32, PayloadView, check

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

_NAMES = {number: name for name, number in CODECS.items()}


@dataclass(frozen=True)
class _Handle:
    """A ``learnae_payload`` and the lock on the buffer it points into."""

    payload: Any
    bytes_: Any


def _call(function: Any, *arguments: Any, ours: bool = False) -> None:
    message = ffi.new("learnae_message *")
    status = function(*arguments, message)
    if status:
        check(status, ffi.string(message.text).decode("ascii", "replace"), ours=ours)


def _floats(array: Float32) -> Any:
    return ffi.from_buffer("float[]", array)


def _pointers(arrays: Sequence[Float32]) -> Any:
    return ffi.new("const float *[]", [_floats(array) for array in arrays])


def _payload(view: PayloadView) -> Any:
    assert isinstance(view.handle, _Handle), "a view of another backend"
    return view.handle.payload


def isa() -> str:
    return str(ffi.string(lib.learnae_isa()).decode())


def isas() -> tuple[str, ...]:
    return tuple(ffi.string(lib.learnae_isa_name(i)).decode() for i in range(lib.learnae_n_isas()))


def set_isa(name: str | None) -> None:
    if lib.learnae_set_isa(ffi.NULL if name is None else name.encode()):
        raise ValueError(f"no instruction set {name!r} here: one of {', '.join(isas())}")


def average(dst: Float32, models: Sequence[Float32], weights: Float32) -> None:
    pointers = _pointers(models)
    _call(lib.learnae_average, _floats(dst), pointers, _floats(weights), len(models), dst.size)


def mix(params: Float32, mean: Float32, rate: float) -> None:
    _call(lib.learnae_mix, _floats(params), _floats(mean), rate, params.size)


def crc32c(data: Buffer, crc: int) -> int:
    with ffi.from_buffer(data) as bytes_:
        return int(lib.learnae_crc32c(crc, bytes_, len(bytes_)))


def payload_nbytes(codec: int, n_vectors: int, n_elements: int) -> int:
    nbytes = ffi.new("size_t *")
    _call(lib.learnae_payload_nbytes, codec, n_vectors, n_elements, nbytes, ours=True)
    return int(nbytes[0])


def payload_write(codec: int, schema_digest: bytes, vectors: Sequence[Float32]) -> bytearray:
    n_elements = vectors[0].size
    out = bytearray(payload_nbytes(codec, len(vectors), n_elements))
    with ffi.from_buffer(out, require_writable=True) as dst:
        _call(
            lib.learnae_payload_write,
            *(dst, len(out), codec, schema_digest),
            *(_pointers(vectors), len(vectors), n_elements),
            ours=True,
        )
    return out


def payload_open(buffer: Buffer, max_elements: int) -> PayloadView:
    # By way of NumPy: before CPython 3.11.9 the garbage collector crashes on a memoryview in a
    # reference cycle while cffi holds its buffer.
    bytes_ = ffi.from_buffer(np.frombuffer(buffer, np.uint8))
    payload = ffi.new("learnae_payload *")
    _call(lib.learnae_payload_open, bytes_, len(bytes_), max_elements, payload)
    return PayloadView(
        buffer=buffer,
        codec=_NAMES[payload.codec],
        n_vectors=payload.n_vectors,
        n_elements=payload.n_elements,
        block_length=payload.block_length,
        n_blocks=payload.n_blocks,
        nbytes=payload.nbytes,
        schema_digest=bytes(ffi.buffer(payload.schema)),
        handle=_Handle(payload, bytes_),
    )


def payload_verify(view: PayloadView) -> None:
    _call(lib.learnae_payload_verify, _payload(view))


def payload_decode(view: PayloadView, vector: int, out: Float32) -> None:
    _call(lib.learnae_payload_decode, _payload(view), vector, _floats(out))


def payload_accumulate(view: PayloadView, vector: int, weight: float, acc: Float32) -> None:
    _call(lib.learnae_payload_accumulate, _payload(view), vector, weight, _floats(acc))


def payload_average(
    dst: Float32, own_weight: float, views: Sequence[PayloadView], weights: Float32, vector: int
) -> None:
    payloads = ffi.new("const learnae_payload *[]", [_payload(view) for view in views])
    _call(
        lib.learnae_payload_average,
        *(_floats(dst), own_weight, payloads, _floats(weights), len(views), vector, dst.size),
    )


def payload_distance(
    view: PayloadView, vector: int, reference: Float32 | None
) -> tuple[float, float]:
    sums = ffi.new("double[2]")
    floats = ffi.NULL if reference is None else _floats(reference)
    _call(lib.learnae_payload_distance, _payload(view), vector, floats, sums, sums + 1)
    return sums[0], sums[1]
