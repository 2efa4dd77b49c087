"""The compiled core through cffi: pointers in, status out; no arithmetic and no policy."""

from __future__ import annotations

from learnae.kernels._c.averaging import (
    average,
    average_plan,
    isa,
    isas,
    mix,
    n_threads,
    set_isa,
    set_threads,
)
from learnae.kernels._c.payloads import (
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
)
from learnae.kernels._c.robust import (
    clip,
    distances,
    krum,
    payload_clip,
    payload_distances,
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
]
