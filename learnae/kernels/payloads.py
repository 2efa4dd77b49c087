"""Payloads: writing, reading hostile ones, and merging straight from the encoded bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast, overload

import numpy as np

from learnae.kernels._buffers import unfilled
from learnae.kernels._checks import (
    as_bytes,
    as_float32,
    as_output,
    as_weights,
    check_floats,
    check_unpacked,
    check_vector,
    codec_number,
)
from learnae.kernels._load import load
from learnae.kernels._seam import (
    PACKED,
    Buffer,
    Bytes,
    Float32,
    PayloadView,
    WritableBuffer,
    WriteOptions,
)

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

_SCHEMA_NBYTES = 32
_N_VECTORS_MAX = 4
_CID_NBYTES = 36
_NATIVE_FORMATS = frozenset("bBcdfhHiIlLqQ?")


def crc32c(data: Buffer, crc: int = 0) -> int:
    """Return the CRC-32C of `data`, continuing from `crc`."""
    if not 0 <= crc < 2**32:
        raise ValueError(f"crc must be in [0, 2**32), not {crc}")
    return load().crc32c(as_bytes(data), crc)


def sha256_chunks(data: Buffer, chunk_nbytes: int) -> list[bytes]:
    """Return the SHA-256 of each chunk of `data`, which its content address is made of.

    Parameters
    ----------
    chunk_nbytes
        Size of a chunk, at least 1; the last is as short as it comes. Without bytes there is one
        chunk, without bytes.

    Notes
    -----
    The compiled core hashes two chunks at a time where the CPU has instructions for it, in little
    more than OpenSSL's time for one; elsewhere this is OpenSSL.
    """
    if chunk_nbytes < 1:
        raise ValueError(f"chunk_nbytes must be at least 1, not {chunk_nbytes}")
    with memoryview(as_bytes(data)) as whole, whole.cast("B") as view:
        digests = load().sha256_chunks(view, chunk_nbytes)
        if digests is not None:
            return [digests[start : start + 32] for start in range(0, len(digests), 32)]
        return [
            hashlib.sha256(view[start : start + chunk_nbytes]).digest()
            for start in range(0, max(1, view.nbytes), chunk_nbytes)
        ]


def payload_nbytes(codec: str, n_vectors: int, n_elements: int) -> int:
    """Return the exact size in bytes of a payload, where it follows from these arguments."""
    _check_counts(n_vectors, n_elements)
    return load().payload_nbytes(codec_number(codec), n_vectors, n_elements)


def payload_bound(codec: str, n_vectors: int, n_elements: int, *, density: float = 0.0) -> int:
    """Return a size in bytes that no payload with these arguments exceeds."""
    _check_counts(n_vectors, n_elements)
    _check_density(codec, density)
    return load().payload_bound(codec_number(codec), n_vectors, n_elements, density)


def _check_counts(n_vectors: int, n_elements: int) -> None:
    if not 1 <= n_vectors <= _N_VECTORS_MAX:
        raise ValueError(f"a payload holds 1 to {_N_VECTORS_MAX} vectors, not {n_vectors}")
    if not 1 <= n_elements < 2**56:
        raise ValueError(f"a payload cannot hold {n_elements} elements a vector")


def _check_density(codec: str, density: float) -> None:
    if codec == "topk":
        if not 0.0 <= density <= 1.0:
            raise ValueError(f"codec topk keeps a part from 0 to 1, not {density}")
    elif density != 0.0:
        raise ValueError(f"codec {codec} takes no density: {density} must be 0")


@overload
def payload_write(
    codec: str,
    schema_digest: bytes,
    vectors: Sequence[Float32 | Sequence[Float32]],
    *,
    base: PayloadView | None = None,
    base_cid: bytes = b"",
    density: float = 0.0,
    out: None = None,
) -> bytearray: ...


@overload
def payload_write(
    codec: str,
    schema_digest: bytes,
    vectors: Sequence[Float32 | Sequence[Float32]],
    *,
    base: PayloadView | None = None,
    base_cid: bytes = b"",
    density: float = 0.0,
    out: WritableBuffer,
) -> memoryview: ...


def payload_write(
    codec: str,
    schema_digest: bytes,
    vectors: Sequence[Float32 | Sequence[Float32]],
    *,
    base: PayloadView | None = None,
    base_cid: bytes = b"",
    density: float = 0.0,
    out: WritableBuffer | None = None,
) -> bytearray | memoryview:
    """Encode vectors of equal length as one payload.

    A vector is an array, or a sequence of arrays that follow each other in it: so a model's leaves
    (`learnae.payload.flatten_leaves`) are written as they lie, with the bytes that the same in one
    array would give. All vectors must be cut alike.

    With a `base`, which must stand alone and carry the same schema, what is encoded is the
    difference: each element less what the base decodes to, rounded to float32. `base_cid`, its
    binary CID of 36 bytes, is written into the payload, so that receivers can find the base and
    put both together with `payload_rebase`. `density` is the part of the elements that codec
    ``topk`` keeps, 0 for its default of 1 %; the others take none.

    With `out`, a writable buffer of at least `payload_bound` bytes, the payload is written to its
    start, and returned as a view of it. Fresh memory costs more than writing a payload into it,
    as the system has to clear it first; so who writes again and again keeps the buffer.

    Raises
    ------
    ValueError
        Also where a codec with scales (``i8`` and all below a byte) meets a NaN or infinity;
        the message names the element, and what is in `out` then is undefined.
    """
    digest, rows = bytes(schema_digest), _leaves_of(vectors)
    if len(digest) != _SCHEMA_NBYTES:
        raise ValueError(f"a schema digest has 32 bytes, not {len(digest)}")
    counts = len(rows), sum(leaf.size for leaf in rows[0])
    if codec in PACKED:
        raise ValueError(
            f"codec {codec} is what payload_pack makes of a payload in {PACKED[codec]}"
        )
    _check_density(codec, density)
    _check_options(codec, digest, counts, base, base_cid)
    number, options = codec_number(codec), WriteOptions(base, bytes(base_cid), density)
    bound = load().payload_bound(number, *counts, density)
    if out is None:
        fresh = unfilled(bound)
        array = np.frombuffer(fresh, np.uint8)
        nbytes = load().payload_write(number, digest, rows, options, array)
        del array  # while it is there, the length is fixed
        del fresh[nbytes:]
        return fresh
    array = as_output(out, bound)
    _check_apart(array, rows, base)
    nbytes = load().payload_write(number, digest, rows, options, array)
    view = memoryview(out)
    native = view.format in _NATIVE_FORMATS  # ctypes has others, which cannot be cast
    return (view.cast("B") if native else array.data)[:nbytes]


def _leaves_of(vectors: Sequence[Float32 | Sequence[Float32]]) -> list[list[Float32]]:
    """Return each vector as its leaves that are not empty, all checked."""
    if not 1 <= len(vectors) <= _N_VECTORS_MAX:
        raise ValueError(f"a payload holds 1 to {_N_VECTORS_MAX} vectors, not {len(vectors)}")
    rows: list[list[Float32]] = []
    for v, vector in enumerate(vectors):
        cut = isinstance(vector, Sequence)
        row = list(vector) if cut else [cast(Float32, vector)]
        sizes = [leaf.size for leaf in rows[0]] if rows else [None] * len(row)
        if len(row) != len(sizes):
            raise ValueError(f"vectors[{v}] has {len(row)} leaves, vectors[0] has {len(sizes)}")
        for at, (leaf, size) in enumerate(zip(row, sizes, strict=True)):
            check_floats(f"vectors[{v}][{at}]" if cut else f"vectors[{v}]", leaf, n_elements=size)
        rows.append(row)
    if not any(leaf.size for leaf in rows[0]):
        raise ValueError("a payload holds at least one element")
    return [[leaf for leaf in row if leaf.size] for row in rows]


def _check_options(
    codec: str,
    schema_digest: bytes,
    counts: tuple[int, int],
    base: PayloadView | None,
    base_cid: bytes,
) -> None:
    if base is not None:
        _check_base(base, schema_digest, *counts)
        if len(base_cid) != _CID_NBYTES or base_cid[0] != 1:
            raise ValueError(f"base_cid must be a binary CIDv1 of {_CID_NBYTES} bytes")
    elif codec == "delta":
        raise ValueError("codec delta makes nothing without a base")
    elif base_cid:
        raise ValueError("a base_cid without a base")


def _check_apart(out: Bytes, rows: list[list[Float32]], base: PayloadView | None) -> None:
    for v, row in enumerate(rows):
        if any(np.may_share_memory(out, leaf) for leaf in row):
            raise ValueError(f"out overlaps vectors[{v}]")
    if base is not None and np.may_share_memory(out, np.frombuffer(base.buffer, np.uint8)):
        raise ValueError("out overlaps base")


def payload_rebase(base: PayloadView, difference: PayloadView) -> bytearray:
    """Return base + difference, each element rounded to float32, as a stand-alone f32 payload.

    A difference of codec ``delta`` gives the model's exact bits. Verify both first; that `base`
    is what ``difference.base`` names, only the caller can know.

    Raises
    ------
    PayloadError
        Where a ``delta`` makes no sense with this base.
    """
    if not difference.base:
        raise ValueError("the difference stands alone: it names no base")
    counts = (difference.n_vectors, difference.n_elements)
    _check_base(base, difference.schema_digest, *counts)
    check_unpacked(difference)
    return load().payload_rebase(base, difference)


def _check_base(base: PayloadView, schema_digest: bytes, n_vectors: int, n_elements: int) -> None:
    if base.base:
        raise ValueError("the base is itself a difference: rebase it first")
    check_unpacked(base)
    if (base.n_vectors, base.n_elements) != (n_vectors, n_elements):
        raise ValueError(
            f"the base has {base.n_vectors} vectors of {base.n_elements} elements, "
            f"the difference {n_vectors} of {n_elements}"
        )
    if base.schema_digest != schema_digest:
        raise ValueError("the base and the difference have different schemas")


def payload_pack(view: PayloadView) -> bytearray:
    """Return a payload of ``i8`` or ``i4`` as one of ``i8z`` or ``i4z``, which is smaller.

    Codes are entropy-coded, and all else stays; `payload_unpack` gives the same bytes back.
    """
    for packed, plain in PACKED.items():
        if view.codec == plain:
            return load().payload_pack(view, packed)
    raise ValueError(f"codec {view.codec} cannot be packed: only {', '.join(PACKED.values())} can")


def payload_unpack(view: PayloadView) -> bytearray:
    """Return the payload that `payload_pack` made this one of, byte for byte. Verify it first.

    Raises
    ------
    PayloadError
        Where the codes of a block make no sense.
    """
    if view.codec not in PACKED:
        raise ValueError(f"codec {view.codec} is not packed")
    return load().payload_unpack(view, PACKED[view.codec])


def payload_open(buffer: Buffer, max_elements: int) -> PayloadView:
    """Check header and block table of any bytes, and make a view of them.

    The view borrows `buffer`. More than `max_elements` elements a vector are refused. Says
    nothing yet about the blocks: call `payload_verify` before using them.

    Raises
    ------
    PayloadError
        Where the bytes are not a version 1 payload, are damaged, or too large.
    """
    if max_elements < 1:
        raise ValueError(f"max_elements must be at least 1, not {max_elements}")
    return load().payload_open(as_bytes(buffer), min(max_elements, 2**56))


def payload_verify(view: PayloadView) -> None:
    """Check every block: checksum, padding, scales, spare bits. Raises `PayloadError`."""
    load().payload_verify(view)


def payload_decode(view: PayloadView, vector: int, out: Float32 | None = None) -> Float32:
    """Return the decoded vector, in `out` where it is given.

    Of a payload with a base, this is the difference itself: `payload_rebase` gives the model.
    """
    check_vector(view, vector)
    if out is None:
        out = np.empty(view.n_elements, np.float32)
    else:
        check_floats("out", out, n_elements=view.n_elements, writable=True)
    load().payload_decode(view, vector, out)
    return out


def payload_accumulate(view: PayloadView, vector: int, weight: float, acc: Float32) -> None:
    """Add ``weight * value`` to `acc`, block by block: the decoded model never exists whole."""
    check_vector(view, vector)
    check_floats("acc", acc, n_elements=view.n_elements, writable=True)
    load().payload_accumulate(view, vector, as_float32(weight), acc)


def payload_average(
    dst: Float32,
    own_weight: float,
    views: Sequence[PayloadView],
    weights: Sequence[float],
    vector: int,
) -> None:
    """Set ``dst = own_weight * dst + sum_k weights[k] * views[k]``, in one pass over `dst`."""
    check_floats("dst", dst, writable=True)
    for k, view in enumerate(views):
        check_vector(view, vector)
        if view.n_elements != dst.size:
            raise ValueError(
                f"views[{k}] has {view.n_elements} elements a vector, dst has {dst.size}"
            )
    weights32 = as_weights(weights, len(views))
    load().payload_average(dst, as_float32(own_weight), views, weights32, vector)


def payload_distance(
    view: PayloadView, vector: int, reference: Float32 | None
) -> tuple[float, float]:
    """Return ``sum (value - reference)^2`` and ``sum value^2`` in float64.

    A reference of None counts as zeros.

    Raises
    ------
    PayloadError
        Where a value of the payload is NaN or infinite.
    """
    check_vector(view, vector)
    if reference is not None:
        check_floats("reference", reference, n_elements=view.n_elements)
    return load().payload_distance(view, vector, reference)
