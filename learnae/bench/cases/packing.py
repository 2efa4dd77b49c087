"""Payloads of i8 and i4 packed for slow links, and unpacked again."""

from __future__ import annotations

from learnae import kernels
from learnae.bench.cases.entry import Inputs, Kernel, Prepared, codec_error
from learnae.bench.floor import Traffic

__all__ = ["PACKING"]

_CODECS = tuple(kernels.PACKED.values())


def _payload_pack(inputs: Inputs, codec: str) -> Prepared:
    view = inputs.payload(codec, 0)
    packed = kernels.payload_pack(view)
    return Prepared(
        lambda: kernels.payload_pack(view),
        Traffic(read=view.nbytes, written=len(packed)),
        codec_error(codec),
        4 * inputs.n / len(packed),
    )


def _payload_unpack(inputs: Inputs, codec: str) -> Prepared:
    plain = inputs.payload(codec, 0)
    view = kernels.payload_open(kernels.payload_pack(plain), inputs.n)
    kernels.payload_verify(view)
    return Prepared(
        lambda: kernels.payload_unpack(view),
        Traffic(read=view.nbytes, written=plain.nbytes),
        codec_error(codec),
        4 * inputs.n / view.nbytes,
    )


PACKING = (
    Kernel("payload_pack", "packing", _payload_pack, _CODECS),
    Kernel("payload_unpack", "packing", _payload_unpack, _CODECS),
)
