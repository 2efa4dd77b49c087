"""Rules that a minority of models cannot move far, from models in memory and from payloads."""

from __future__ import annotations

import numpy as np

from learnae import kernels
from learnae.bench.cases.entry import Inputs, Kernel, Prepared, codec_error
from learnae.bench.floor import Traffic

__all__ = ["ROBUST", "n_trimmed"]

_K = 9


def n_trimmed(k: int) -> int:
    """Return how many values a trimmed mean of `k` leaves out at either end: a fifth."""
    return k // 5


def _median(inputs: Inputs, codec: str) -> Prepared:
    dst = np.zeros(inputs.n, np.float32)
    return Prepared(lambda: kernels.median(dst, inputs.models), _traffic(inputs))


def _trimmed_mean(inputs: Inputs, codec: str) -> Prepared:
    dst, n_trim = np.zeros(inputs.n, np.float32), n_trimmed(inputs.k)
    return Prepared(lambda: kernels.trimmed_mean(dst, inputs.models, n_trim), _traffic(inputs))


def _distances(inputs: Inputs, codec: str) -> Prepared:
    traffic = Traffic(read=sum(model.nbytes for model in inputs.models))
    return Prepared(lambda: kernels.distances(inputs.models), traffic)


def _traffic(inputs: Inputs) -> Traffic:
    nbytes = inputs.models[0].nbytes
    return Traffic(read=inputs.k * nbytes, written=nbytes)


def _payload_median(inputs: Inputs, codec: str) -> Prepared:
    dst = np.zeros(inputs.n, np.float32)
    views = [inputs.payload(codec, i) for i in range(inputs.k)]
    return Prepared(
        lambda: kernels.payload_median(dst, None, views, 0),
        Traffic(read=sum(view.nbytes for view in views), written=dst.nbytes),
        codec_error(codec),
    )


def _payload_distances(inputs: Inputs, codec: str) -> Prepared:
    views = [inputs.payload(codec, i) for i in range(inputs.k)]
    return Prepared(
        lambda: kernels.payload_distances(None, views, 0),
        Traffic(read=sum(view.nbytes for view in views)),
        codec_error(codec),
    )


ROBUST = (
    Kernel("median", "robust", _median, k=_K),
    Kernel("trimmed_mean", "robust", _trimmed_mean, k=_K),
    Kernel("distances", "robust", _distances, k=_K),
    # What these add is the decoding, of which one narrow and one wide codec say enough.
    Kernel("payload_median", "robust", _payload_median, ("bf16", "i8"), k=_K),
    Kernel("payload_distances", "robust", _payload_distances, ("bf16", "i8"), k=_K),
)
