"""Averaging and payloads at memory speed: one facade over the compiled core and its numba twin.

Both backends give the same bits. The compiled core is used where it is installed, else numba;
``LEARNAE_KERNELS=c`` or ``=numba`` insists on one. Nothing is loaded before the first use. Both
work in one thread unless `set_threads` or ``LEARNAE_THREADS`` allow more.

Arrays of floats are one-dimensional, C-contiguous, aligned ``float32``; anything else is a
ValueError, as is every other mistake of the caller. Bytes that are not a valid payload are a
`PayloadError`. What is computed, with which rounding and with what rule for NaN, is written in
``core/include/learnae.h``; the payload format in ``docs/payload.md``.
"""

from __future__ import annotations

from learnae.kernels._load import backend, isa, isas, n_threads, set_isa, set_threads
from learnae.kernels._seam import CODECS, PACKED, Buffer, Float32, PayloadView, WritableBuffer
from learnae.kernels.averaging import average, average_plan, mix
from learnae.kernels.payloads import (
    crc32c,
    payload_accumulate,
    payload_average,
    payload_bound,
    payload_decode,
    payload_distance,
    payload_nbytes,
    payload_open,
    payload_pack,
    payload_rebase,
    payload_unpack,
    payload_verify,
    payload_write,
    sha256_chunks,
)
from learnae.kernels.robust import (
    clip,
    distances,
    krum,
    median,
    payload_clip,
    payload_distances,
    payload_median,
    payload_trimmed_mean,
    trimmed_mean,
)

__all__ = [
    "clip",
    "distances",
    "krum",
    "payload_clip",
    "payload_distances",
    "payload_trimmed_mean",
    "trimmed_mean",
    "median",
    "payload_median",
    "CODECS",
    "PACKED",
    "Buffer",
    "Float32",
    "PayloadView",
    "WritableBuffer",
    "average",
    "average_plan",
    "backend",
    "crc32c",
    "isa",
    "isas",
    "mix",
    "n_threads",
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
    "set_isa",
    "set_threads",
    "sha256_chunks",
]
