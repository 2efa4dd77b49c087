"""A model as its difference to an earlier one: written, and put together again."""

from __future__ import annotations

import numpy as np

from learnae import kernels
from learnae.bench.cases.entry import SCHEMA, Inputs, Kernel, Prepared
from learnae.bench.floor import Traffic
from learnae.kernels import PayloadView

__all__ = ["DIFFERENCES"]

_CODECS = ("i8", "i4", "topk", "sign", "ternary", "delta")
_CID = bytes([1, 0x55, 0x12, 0x20]) + bytes(32)


def _write(inputs: Inputs, codec: str) -> bytearray:
    base = inputs.payload("f32", 0)
    return kernels.payload_write(codec, SCHEMA, [inputs.later], base=base, base_cid=_CID)


def _payload_write_with(inputs: Inputs, codec: str) -> Prepared:
    written = _write(inputs, codec)
    read = inputs.later.nbytes + inputs.payload("f32", 0).nbytes
    return Prepared(
        lambda: _write(inputs, codec),
        Traffic(read=read, written=len(written)),
        _error(inputs, kernels.payload_open(written, inputs.n)),
        inputs.later.nbytes / len(written),
    )


def _payload_rebase(inputs: Inputs, codec: str) -> Prepared:
    base = inputs.payload("f32", 0)
    difference = kernels.payload_open(_write(inputs, codec), inputs.n)
    kernels.payload_verify(difference)
    return Prepared(
        lambda: kernels.payload_rebase(base, difference),
        Traffic(read=base.nbytes + difference.nbytes, written=base.nbytes),
        _error(inputs, difference),
        inputs.later.nbytes / difference.nbytes,
    )


def _error(inputs: Inputs, difference: PayloadView) -> float | None:
    """Return the relative L2 error of base + difference; None for 0."""
    both = kernels.payload_open(
        kernels.payload_rebase(inputs.payload("f32", 0), difference), inputs.n
    )
    found = kernels.payload_decode(both, 0) - inputs.later.astype(np.float64)
    return float(np.linalg.norm(found) / np.linalg.norm(inputs.later)) or None


DIFFERENCES = (
    Kernel("payload_write_with", "differences", _payload_write_with, _CODECS),
    Kernel("payload_rebase", "differences", _payload_rebase, _CODECS),
)
