"""One's own model averaged with encoded ones: `k` models are one's own and ``k - 1`` payloads."""

from __future__ import annotations

import numpy as np

from learnae import kernels
from learnae.bench.cases.entry import ALONE, Inputs, Kernel, Prepared, codec_error
from learnae.bench.floor import Traffic
from learnae.kernels import PayloadView

__all__ = ["MERGING"]

_LINE_NBYTES = 64


def _payload_average(inputs: Inputs, codec: str) -> Prepared:
    dst, weights = inputs.models[0], inputs.weights
    views = [inputs.payload(codec, i) for i in range(1, inputs.k)]
    own = float(weights[0])
    return Prepared(
        lambda: kernels.payload_average(dst, own, views, weights[1:], 0),
        Traffic(read=sum(view.nbytes for view in views), scaled=dst.nbytes),
        codec_error(codec),
    )


def _updated_nbytes(view: PayloadView) -> int:
    """Return how much of a model changes: with `topk` the lines that have a kept element."""
    if view.codec != "topk":
        return 4 * view.n_elements
    kept = np.flatnonzero(kernels.payload_decode(view, 0))
    return _LINE_NBYTES * np.unique(kept // (_LINE_NBYTES // 4)).size


def _payload_accumulate(inputs: Inputs, codec: str) -> Prepared:
    acc = inputs.models[0].copy()
    view = inputs.payload(codec, 0)
    return Prepared(
        # Weight 0, so that any number of calls leaves finite numbers; it takes the same time.
        lambda: kernels.payload_accumulate(view, 0, 0.0, acc),
        Traffic(read=view.nbytes, scaled=_updated_nbytes(view)),
        codec_error(codec),
    )


MERGING = (
    Kernel("payload_average", "merging", _payload_average, ALONE, k=8),
    Kernel("payload_accumulate", "merging", _payload_accumulate, ALONE),
)
