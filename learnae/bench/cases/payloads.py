"""One payload: written, checked, decoded, measured against one's own model."""

from __future__ import annotations

import numpy as np

from learnae import kernels
from learnae.bench.cases.entry import ALONE, SCHEMA, Inputs, Kernel, Prepared, codec_error
from learnae.bench.floor import Traffic

__all__ = ["PAYLOADS"]


def _payload_write(inputs: Inputs, codec: str) -> Prepared:
    vector = inputs.models[0]
    nbytes = kernels.payload_nbytes(codec, 1, inputs.n)
    return Prepared(
        lambda: kernels.payload_write(codec, SCHEMA, [vector]),
        Traffic(read=vector.nbytes, written=nbytes),
        codec_error(codec),
    )


def _payload_verify(inputs: Inputs, codec: str) -> Prepared:
    view = inputs.payload(codec, 0)
    return Prepared(lambda: kernels.payload_verify(view), Traffic(read=view.nbytes))


def _payload_decode(inputs: Inputs, codec: str) -> Prepared:
    view = inputs.payload(codec, 0)
    out = np.zeros(inputs.n, np.float32)
    return Prepared(
        lambda: kernels.payload_decode(view, 0, out),
        Traffic(read=view.nbytes, written=out.nbytes),
        codec_error(codec),
    )


def _payload_distance(inputs: Inputs, codec: str) -> Prepared:
    view = inputs.payload(codec, 0)
    reference = inputs.models[0]
    return Prepared(
        lambda: kernels.payload_distance(view, 0, reference),
        Traffic(read=view.nbytes + reference.nbytes),
        codec_error(codec),
    )


def _crc32c(inputs: Inputs, codec: str) -> Prepared:
    data = inputs.models[0].view(np.uint8).data
    return Prepared(lambda: kernels.crc32c(data), Traffic(read=data.nbytes))


PAYLOADS = (
    Kernel("payload_write", "payloads", _payload_write, ALONE),
    Kernel("payload_verify", "payloads", _payload_verify, ALONE),
    Kernel("payload_decode", "payloads", _payload_decode, ALONE),
    Kernel("payload_distance", "payloads", _payload_distance, ALONE),
    Kernel("crc32c", "payloads", _crc32c),
)
