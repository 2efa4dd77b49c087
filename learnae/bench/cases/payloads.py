"""One payload: written, checked, decoded, measured against one's own model."""

from __future__ import annotations

import numpy as np

from learnae import kernels
from learnae.bench.cases.entry import ALONE, SCHEMA, Inputs, Kernel, Prepared, codec_error
from learnae.bench.floor import Traffic
from learnae.kernels import Float32

__all__ = ["PAYLOADS"]


def _payload_write(inputs: Inputs, codec: str) -> Prepared:
    return _written(inputs, codec, inputs.models[0])


def _payload_write_leaves(inputs: Inputs, codec: str) -> Prepared:
    return _written(inputs, codec, inputs.leaves[0])


def _written(inputs: Inputs, codec: str, vector: Float32 | list[Float32]) -> Prepared:
    nbytes = kernels.payload_nbytes(codec, 1, inputs.n)
    # In NumPy's memory, which asks for huge pages as the model does.
    out = np.zeros(nbytes, np.uint8).data
    return Prepared(
        lambda: kernels.payload_write(codec, SCHEMA, [vector], out=out),
        Traffic(read=inputs.models[0].nbytes, written=nbytes),
        codec_error(codec),
        inputs.models[0].nbytes / nbytes,
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
        out.nbytes / view.nbytes,
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
    Kernel("payload_write_leaves", "payloads", _payload_write_leaves),
    Kernel("payload_verify", "payloads", _payload_verify, ALONE),
    Kernel("payload_decode", "payloads", _payload_decode, ALONE),
    Kernel("payload_distance", "payloads", _payload_distance, ALONE),
    Kernel("crc32c", "payloads", _crc32c),
)
