"""Payloads of the compiled core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from learnae._core import ffi, lib
from learnae.kernels._buffers import unfilled
from learnae.kernels._c.call import call, floats
from learnae.kernels._seam import CODECS, Buffer, Bytes, Float32, PayloadView, WriteOptions

__all__ = [
    "crc32c",
    "payload_accumulate",
    "payload_average",
    "payload_bound",
    "payload_decode",
    "payload_distance",
    "payload_nbytes",
    "payload_open",
    "payload_pack",
    "payload_rebase",
    "payload_unpack",
    "payload_verify",
    "payload_write",
    "sha256_chunks",
]

_NAMES = {number: name for name, number in CODECS.items()}


@dataclass(frozen=True)
class _Handle:
    """A ``learnae_payload`` and the lock on the buffer it points into."""

    payload: Any
    bytes_: Any


def payload_of(view: PayloadView) -> Any:
    assert isinstance(view.handle, _Handle), "a view of another backend"
    return view.handle.payload


def crc32c(data: Buffer, crc: int) -> int:
    with ffi.from_buffer(data) as bytes_:
        return int(lib.learnae_crc32c(crc, bytes_, len(bytes_)))


def sha256_chunks(data: Buffer, chunk_nbytes: int) -> bytes | None:
    """Return the digests, one behind the other; None where OpenSSL is faster."""
    if not lib.learnae_sha256_in_hardware():
        return None
    with ffi.from_buffer(data) as bytes_:
        digests = bytearray(32 * max(1, -(-len(bytes_) // chunk_nbytes)))
        with ffi.from_buffer("uint8_t[]", digests, require_writable=True) as out:
            lib.learnae_sha256_chunks(out, bytes_, len(bytes_), chunk_nbytes)
    return bytes(digests)


def payload_nbytes(codec: int, n_vectors: int, n_elements: int) -> int:
    nbytes = ffi.new("size_t *")
    call(lib.learnae_payload_nbytes, codec, n_vectors, n_elements, nbytes, ours=True)
    return int(nbytes[0])


def payload_bound(codec: int, n_vectors: int, n_elements: int, density: float) -> int:
    options, _ = _options(WriteOptions(density=density))
    nbytes = ffi.new("size_t *")
    call(lib.learnae_payload_bound, codec, n_vectors, n_elements, options, nbytes, ours=True)
    return int(nbytes[0])


def _options(options: WriteOptions) -> tuple[Any, Any]:
    """Return a ``learnae_write_options`` and what must be kept alive as long as it is used."""
    cid = ffi.from_buffer("uint8_t[]", options.base_cid)
    payload = ffi.NULL if options.base is None else payload_of(options.base)
    fields = (payload, cid if options.base_cid else ffi.NULL, options.density)
    return ffi.new("learnae_write_options *", (ffi.sizeof("learnae_write_options"), *fields)), cid


def payload_write(
    codec: int,
    schema_digest: bytes,
    vectors: Sequence[Sequence[Float32]],
    options: WriteOptions,
    out: Bytes,
) -> int:
    nbytes, sizes = ffi.new("size_t *"), [leaf.size for leaf in vectors[0]]
    lengths = ffi.new("size_t[]", sizes)
    given, _kept = _options(options)
    given.leaf_elements, given.n_leaves = lengths, len(sizes)
    leaves = [floats(leaf) for vector in vectors for leaf in vector]
    call(
        lib.learnae_payload_write_with,
        *(ffi.from_buffer(out, require_writable=True), out.size, codec, schema_digest),
        *(ffi.new("const float *[]", leaves), len(vectors), sum(sizes), given, nbytes),
        ours=True,
    )
    return int(nbytes[0])


def payload_rebase(base: PayloadView, difference: PayloadView) -> bytearray:
    counts = (difference.n_vectors, difference.n_elements)
    out = unfilled(payload_nbytes(CODECS["f32"], *counts))
    with ffi.from_buffer(out, require_writable=True) as dst:
        call(
            lib.learnae_payload_rebase,
            *(dst, len(out), payload_of(base), payload_of(difference)),
        )
    return out


def payload_pack(view: PayloadView, codec: str) -> bytearray:
    out, nbytes = unfilled(_pack_bound(view)), ffi.new("size_t *")
    with ffi.from_buffer(out, require_writable=True) as dst:
        call(lib.learnae_payload_pack, dst, len(out), payload_of(view), nbytes, ours=True)
    del out[nbytes[0] :]
    return out


def payload_unpack(view: PayloadView, codec: str) -> bytearray:
    out = unfilled(_pack_bound(view))
    with ffi.from_buffer(out, require_writable=True) as dst:
        call(lib.learnae_payload_unpack, dst, len(out), payload_of(view))
    return out


def _pack_bound(view: PayloadView) -> int:
    nbytes = ffi.new("size_t *")
    call(lib.learnae_payload_pack_bound, payload_of(view), nbytes, ours=True)
    return int(nbytes[0])


def payload_open(buffer: Buffer, max_elements: int) -> PayloadView:
    # By way of NumPy: before CPython 3.11.9 the garbage collector crashes on a memoryview in a
    # reference cycle while cffi holds its buffer.
    bytes_ = ffi.from_buffer(np.frombuffer(buffer, np.uint8))
    payload = ffi.new("learnae_payload *")
    call(lib.learnae_payload_open, bytes_, len(bytes_), max_elements, payload)
    return PayloadView(
        buffer=buffer,
        codec=_NAMES[payload.codec],
        n_vectors=payload.n_vectors,
        n_elements=payload.n_elements,
        block_length=payload.block_length,
        n_blocks=payload.n_blocks,
        nbytes=payload.nbytes,
        schema_digest=bytes(ffi.buffer(payload.schema)),
        parameter=payload.parameter,
        base=bytes(ffi.buffer(payload.base)) if payload.base[0] else b"",
        handle=_Handle(payload, bytes_),
    )


def payload_verify(view: PayloadView) -> None:
    call(lib.learnae_payload_verify, payload_of(view))


def payload_decode(view: PayloadView, vector: int, out: Float32) -> None:
    call(lib.learnae_payload_decode, payload_of(view), vector, floats(out))


def payload_accumulate(view: PayloadView, vector: int, weight: float, acc: Float32) -> None:
    call(lib.learnae_payload_accumulate, payload_of(view), vector, weight, floats(acc))


def payload_average(
    dst: Float32, own_weight: float, views: Sequence[PayloadView], weights: Float32, vector: int
) -> None:
    payloads = ffi.new("const learnae_payload *[]", [payload_of(view) for view in views])
    call(
        lib.learnae_payload_average,
        *(floats(dst), own_weight, payloads, floats(weights), len(views), vector, dst.size),
    )


def payload_distance(
    view: PayloadView, vector: int, reference: Float32 | None
) -> tuple[float, float]:
    sums = ffi.new("double[2]")
    at = ffi.NULL if reference is None else floats(reference)
    call(lib.learnae_payload_distance, payload_of(view), vector, at, sums, sums + 1)
    return sums[0], sums[1]
