"""Averaging and payloads at memory speed: one facade over the compiled core and its numba twin.

Both backends give the same bits. The compiled core is used where it is installed, else numba;
``LEARNAE_KERNELS=c`` or ``=numba`` insists on one. Nothing is loaded before the first use.

Arrays of floats are one-dimensional, C-contiguous, aligned ``float32``; anything else is a
ValueError, as is every other mistake of the caller. Bytes that are not a valid payload are a
`PayloadError`. What is computed, with which rounding and with what rule for NaN, is written in
``core/include/learnae.h``; the payload format in ``docs/payload.md``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import cast

import numpy as np

from learnae.errors import BackendError
from learnae.kernels._seam import CODECS, Backend, Buffer, Float32, PayloadView

__all__ = [
    "CODECS",
    "Buffer",
    "Float32",
    "PayloadView",
    "average",
    "backend",
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

_SCHEMA_NBYTES = 32
_N_VECTORS_MAX = 4
_CURES = {
    "c": "the compiled core is not installed; with a C compiler and Python's headers at hand, "
    "install learnae again",
    "numba": "numba is not installed: pip install numba",
}

_loaded: Backend | None = None


def _load() -> Backend:
    """Return the backend, chosen at the first call."""
    global _loaded
    if _loaded is None:
        wanted = os.environ.get("LEARNAE_KERNELS", "")
        if wanted not in ("", "c", "numba"):
            raise BackendError(f"LEARNAE_KERNELS={wanted!r}: set it to c or numba, or unset it")
        _loaded = _import([wanted] if wanted else ["c", "numba"])
    return _loaded


def _import(names: Sequence[str]) -> Backend:
    problems = []
    for name in names:
        try:
            return cast(Backend, importlib.import_module(f"learnae.kernels._{name}"))
        except ImportError as error:
            problems.append(f"{_CURES[name]} ({error})")
    raise BackendError("; or ".join(problems))


def backend() -> str:
    """Return the backend in use: ``"c"`` or ``"numba"``.

    Raises
    ------
    BackendError
        Where none can be imported, or ``LEARNAE_KERNELS`` names none.
    """
    return _load().__name__.rpartition("._")[2]  # type: ignore[attr-defined,no-any-return]


def isa() -> str:
    """Return the name of the instruction set in use, such as ``"avx2"``."""
    return _load().isa()


def isas() -> tuple[str, ...]:
    """Return the instruction sets that this machine can run, best first."""
    return _load().isas()


def set_isa(name: str | None) -> None:
    """Use the named instruction set from now on; the best one where `name` is None."""
    _load().set_isa(name)


def average(dst: Float32, models: Sequence[Float32], weights: Sequence[float]) -> None:
    """Set ``dst = sum_k weights[k] * models[k]``, added in this order.

    `dst` may be one of the models. Weights are rounded to float32 and used as they are:
    normalise them first where a mean is wanted.
    """
    _check_floats("dst", dst, writable=True)
    if not models:
        raise ValueError("average() needs at least one model")
    for k, model in enumerate(models):
        _check_floats(f"models[{k}]", model, n_elements=dst.size)
        _check_overlap(dst, model, f"models[{k}]")
    _load().average(dst, models, _weights(weights, len(models)))


def mix(params: Float32, mean: Float32, rate: float) -> None:
    """Set ``params = (1 - rate) * params + rate * mean``, with `rate` in [0, 1]."""
    _check_floats("params", params, writable=True)
    _check_floats("mean", mean, n_elements=params.size)
    _check_overlap(params, mean, "mean")
    _load().mix(params, mean, _float32(rate))


def crc32c(data: Buffer, crc: int = 0) -> int:
    """Return the CRC-32C of `data`, continuing from `crc`."""
    if not 0 <= crc < 2**32:
        raise ValueError(f"crc must be in [0, 2**32), not {crc}")
    return _load().crc32c(_bytes(data), crc)


def payload_nbytes(codec: str, n_vectors: int, n_elements: int) -> int:
    """Return the exact size in bytes of what `payload_write` makes."""
    if not 1 <= n_vectors <= _N_VECTORS_MAX:
        raise ValueError(f"a payload holds 1 to {_N_VECTORS_MAX} vectors, not {n_vectors}")
    if not 1 <= n_elements < 2**56:
        raise ValueError(f"a payload cannot hold {n_elements} elements a vector")
    return _load().payload_nbytes(_codec(codec), n_vectors, n_elements)


def payload_write(codec: str, schema_digest: bytes, vectors: Sequence[Float32]) -> bytearray:
    """Encode vectors of equal length as one payload.

    Raises
    ------
    ValueError
        Also where codec ``i8`` meets a NaN or infinity; the message names the element.
    """
    if len(schema_digest) != _SCHEMA_NBYTES:
        raise ValueError(f"a schema digest has 32 bytes, not {len(schema_digest)}")
    if not 1 <= len(vectors) <= _N_VECTORS_MAX:
        raise ValueError(f"a payload holds 1 to {_N_VECTORS_MAX} vectors, not {len(vectors)}")
    for v, vector in enumerate(vectors):
        _check_floats(f"vectors[{v}]", vector, n_elements=vectors[0].size)
    if not vectors[0].size:
        raise ValueError("a payload holds at least one element")
    return _load().payload_write(_codec(codec), bytes(schema_digest), vectors)


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
    return _load().payload_open(_bytes(buffer), min(max_elements, 2**56))


def payload_verify(view: PayloadView) -> None:
    """Check every block: checksum, padding, scales. Raises `PayloadError`."""
    _load().payload_verify(view)


def payload_decode(view: PayloadView, vector: int, out: Float32 | None = None) -> Float32:
    """Return the decoded vector, in `out` where it is given."""
    _check_vector(view, vector)
    if out is None:
        out = np.empty(view.n_elements, np.float32)
    else:
        _check_floats("out", out, n_elements=view.n_elements, writable=True)
    _load().payload_decode(view, vector, out)
    return out


def payload_accumulate(view: PayloadView, vector: int, weight: float, acc: Float32) -> None:
    """Add ``weight * value`` to `acc`, block by block: the decoded model never exists whole."""
    _check_vector(view, vector)
    _check_floats("acc", acc, n_elements=view.n_elements, writable=True)
    _load().payload_accumulate(view, vector, _float32(weight), acc)


def payload_average(
    dst: Float32,
    own_weight: float,
    views: Sequence[PayloadView],
    weights: Sequence[float],
    vector: int,
) -> None:
    """Set ``dst = own_weight * dst + sum_k weights[k] * views[k]``, in one pass over `dst`."""
    _check_floats("dst", dst, writable=True)
    for k, view in enumerate(views):
        _check_vector(view, vector)
        if view.n_elements != dst.size:
            raise ValueError(
                f"views[{k}] has {view.n_elements} elements a vector, dst has {dst.size}"
            )
    weights32 = _weights(weights, len(views))
    _load().payload_average(dst, _float32(own_weight), views, weights32, vector)


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
    _check_vector(view, vector)
    if reference is not None:
        _check_floats("reference", reference, n_elements=view.n_elements)
    return _load().payload_distance(view, vector, reference)


def _check_floats(
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


def _check_overlap(dst: Float32, source: Float32, name: str) -> None:
    """Refuse a partial overlap; the same array in full is the usual, in-place case."""
    if np.may_share_memory(dst, source) and (
        dst.__array_interface__["data"][0] != source.__array_interface__["data"][0]
    ):
        raise ValueError(f"{name} overlaps the array that is written, but is not the same array")


def _check_vector(view: PayloadView, vector: int) -> None:
    if not 0 <= vector < view.n_vectors:
        raise ValueError(f"no vector {vector}: this payload has {view.n_vectors}")


def _weights(weights: Sequence[float], n_weights: int) -> Float32:
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(weights, dtype=np.float32)
    if array.shape != (n_weights,):
        raise ValueError(f"{n_weights} weights expected, not shape {array.shape}")
    return array


def _float32(number: float) -> float:
    """Round to float32, where all weights live; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return float(np.float32(number))


def _codec(codec: str) -> int:
    try:
        return CODECS[codec]
    except KeyError:
        raise ValueError(f"no codec {codec!r}: one of {', '.join(CODECS)}") from None


def _bytes(data: Buffer) -> Buffer:
    if isinstance(data, memoryview) and not data.c_contiguous:
        raise ValueError("the buffer must be contiguous")
    return data
