"""Averages of models that lie in memory as they are."""

from __future__ import annotations

from learnae import kernels
from learnae.bench.cases.entry import Inputs, Kernel, Prepared
from learnae.bench.floor import Traffic

__all__ = ["AVERAGING"]


def _average(inputs: Inputs, codec: str) -> Prepared:
    dst, weights = inputs.models[0], inputs.weights
    return Prepared(
        lambda: kernels.average(dst, inputs.models, weights),
        Traffic(read=(inputs.k - 1) * dst.nbytes, scaled=dst.nbytes),
    )


AVERAGING = (Kernel("average", "averaging", _average, k=8),)
