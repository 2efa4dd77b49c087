"""The numba twin of the compiled core: same functions, same bits, where there is no compiler."""

from __future__ import annotations

from learnae.kernels._numba.averaging import (
    average,
    average_plan,
    isa,
    isas,
    mix,
    n_threads,
    set_isa,
    set_threads,
)
from learnae.kernels._numba.packing import payload_pack, payload_unpack
from learnae.kernels._numba.payloads import (
    crc32c,
    payload_accumulate,
    payload_average,
    payload_decode,
    payload_distance,
    payload_open,
    payload_verify,
    sha256_chunks,
)
from learnae.kernels._numba.robust import (
    clip,
    distances,
    krum,
    payload_clip,
    payload_distances,
    payload_trimmed_mean,
    trimmed_mean,
)
from learnae.kernels._numba.writing import (
    payload_bound,
    payload_nbytes,
    payload_rebase,
    payload_write,
)

__all__ = [
    "clip",
    "distances",
    "krum",
    "payload_clip",
    "payload_distances",
    "payload_trimmed_mean",
    "trimmed_mean",
    "average",
    "average_plan",
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
