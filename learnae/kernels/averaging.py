"""Averages of models that lie in memory as they are."""

from __future__ import annotations

from collections.abc import Sequence

from learnae.kernels._checks import as_float32, as_weights, check_floats, check_overlap
from learnae.kernels._load import load
from learnae.kernels._seam import Float32

__all__ = ["average", "mix"]


def average(dst: Float32, models: Sequence[Float32], weights: Sequence[float]) -> None:
    """Set ``dst = sum_k weights[k] * models[k]``, added in this order.

    `dst` may be one of the models. Weights are rounded to float32 and used as they are:
    normalise them first where a mean is wanted.
    """
    check_floats("dst", dst, writable=True)
    if not models:
        raise ValueError("average() needs at least one model")
    for k, model in enumerate(models):
        check_floats(f"models[{k}]", model, n_elements=dst.size)
        check_overlap(dst, model, f"models[{k}]")
    load().average(dst, models, as_weights(weights, len(models)))


def mix(params: Float32, mean: Float32, rate: float) -> None:
    """Set ``params = (1 - rate) * params + rate * mean``, with `rate` in [0, 1]."""
    check_floats("params", params, writable=True)
    check_floats("mean", mean, n_elements=params.size)
    check_overlap(params, mean, "mean")
    load().mix(params, mean, as_float32(rate))
