"""What the facade checks of its arguments, so that no backend has to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learnae.kernels._seam import (
    CODECS,
    PACKED,
    Buffer,
    Bytes,
    Float32,
    PayloadView,
    WritableBuffer,
)

__all__ = [
    "as_bytes",
    "as_float32",
    "as_output",
    "as_weights",
    "check_floats",
    "check_overlap",
    "check_unpacked",
    "check_vector",
    "codec_number",
]


def check_floats(
    name: str, array: Float32, n_elements: int | None = None, *, writable: bool = False
) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 1:
        found = f"{getattr(array, 'dtype', type(array).__name__)}, shape {np.shape(array)}"
        raise ValueError(f"{name} must be a one-dimensional float32 array, not {found}")
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        raise ValueError(f"{name} must be contiguous and aligned")
    if writable and not flags.writeable:
        raise ValueError(f"{name} is read-only and would be written to")
    if n_elements is not None and array.size != n_elements:
        raise ValueError(f"{name} has {array.size} elements, expected {n_elements}")


def check_overlap(dst: Float32, source: Float32, name: str) -> None:
    """Refuse a partial overlap; the same array in full is the usual, in-place case."""
    if np.may_share_memory(dst, source) and (
        dst.__array_interface__["data"][0] != source.__array_interface__["data"][0]
    ):
        raise ValueError(f"{name} overlaps the array that is written, but is not the same array")


def check_vector(view: PayloadView, vector: int) -> None:
    if not 0 <= vector < view.n_vectors:
        raise ValueError(f"no vector {vector}: this payload has {view.n_vectors}")
    if view.codec == "delta":
        raise ValueError(
            "codec delta has no values without its base: make the model with payload_rebase"
        )
    check_unpacked(view)


def check_unpacked(view: PayloadView) -> None:
    if view.codec in PACKED:
        raise ValueError(f"codec {view.codec} is packed: use what payload_unpack makes of it")


def as_weights(weights: Sequence[float], n_weights: int) -> Float32:
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(weights, dtype=np.float32)
    if array.shape != (n_weights,):
        raise ValueError(f"{n_weights} weights expected, not shape {array.shape}")
    return array


def as_float32(number: float) -> float:
    """Round to float32, where all weights live; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return float(np.float32(number))


def codec_number(codec: str) -> int:
    try:
        return CODECS[codec]
    except KeyError:
        raise ValueError(f"no codec {codec!r}: one of {', '.join(CODECS)}") from None


def as_bytes(data: Buffer) -> Buffer:
    if isinstance(data, memoryview) and not data.c_contiguous:
        raise ValueError("the buffer must be contiguous")
    return data


def as_output(out: WritableBuffer, nbytes: int) -> Bytes:
    """See the first `nbytes` of a buffer as bytes that can be written."""
    try:
        view = memoryview(out)
    except TypeError:
        raise ValueError(f"out must be a buffer, not {type(out).__name__}") from None
    if view.readonly or not view.c_contiguous:
        raise ValueError("out must be writable and contiguous")
    if view.nbytes < nbytes:
        raise ValueError(f"out has {view.nbytes} bytes, up to {nbytes} are written")
    return np.frombuffer(view, np.uint8, nbytes)
