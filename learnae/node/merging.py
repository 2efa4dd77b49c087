"""The mean over one's own model and the remembered ones, straight from their payloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae import kernels

__all__ = ["Merged", "merge"]

Float32 = NDArray[np.float32]
Weighted = tuple[kernels.PayloadView, float]


@dataclass(frozen=True)
class Merged:
    """The outcome of `merge`.

    Attributes
    ----------
    n_models
        Models in the mean, one's own included.
    shift
        Swarm's mean gradient minus one's own, float32, shape (n_elements,): the drift
        correction of the next round. None where there is no own gradient.
    """

    n_models: int
    shift: Float32 | None


def merge(
    params: Float32,
    gradient: Float32 | None,
    samples: int | None,
    others: Sequence[Weighted],
    mix_rate: float = 1.0,
) -> Merged:
    """Merge the others' models into `params`, in place.

    ``params <- (1 - r) params + r sum_j w_j params_j``, where j runs over one's own params and
    the others', w is proportional to samples, and r is the mix rate. The shift is the same
    mean over the gradients, own and others', minus one's own.

    Parameters
    ----------
    params
        Shape (n_elements,); overwritten.
    gradient
        The round's own mean gradient, shape (n_elements,), or None; left as it is.
    samples
        Weight of one's own params. None leaves them out: a late joiner's first step. Then the
        others count alike if none of them has a weight.
    others
        Accepted payloads with their weights, in an order that does not depend on arrival.
        Those without weight are left out.
    """
    own = float(samples) if samples is not None else 0.0
    if samples is None:
        mix_rate = 1.0
        if not any(weight > 0 for _, weight in others):
            others = [(view, 1.0) for view, _ in others]
    others = [(view, weight) for view, weight in others if weight > 0]
    total = own + sum(weight for _, weight in others)
    if not others:
        return Merged(int(samples is not None), None if gradient is None else _zeros(gradient))
    kernels.payload_average(
        params,
        (1.0 - mix_rate) + mix_rate * own / total,
        [view for view, _ in others],
        [mix_rate * weight / total for _, weight in others],
        0,
    )
    return Merged(len(others) + int(samples is not None), _shift(gradient, own, others))


def _shift(gradient: Float32 | None, own: float, others: Sequence[Weighted]) -> Float32 | None:
    if gradient is None:
        return None
    # A contributor without a gradient (its payload has one vector) says nothing here.
    others = [(view, weight) for view, weight in others if view.n_vectors > 1]
    if not others:
        return _zeros(gradient)
    total = own + sum(weight for _, weight in others)
    shift = gradient.copy()
    views, weights = [view for view, _ in others], [weight / total for _, weight in others]
    kernels.payload_average(shift, own / total, views, weights, 1)
    shift -= gradient
    return shift


def _zeros(like: Float32) -> Float32:
    return np.zeros_like(like)
