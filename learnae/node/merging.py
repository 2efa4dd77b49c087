"""The mean over one's own model and the remembered ones, straight from their payloads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae import kernels

__all__ = ["Merged", "longest_gradient", "merge"]

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
    gradients: Sequence[Weighted] | None = None,
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
    gradients
        Those of the others whose gradients count in the shift; None for all.
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
    n_models = len(others) + int(samples is not None)
    return Merged(n_models, _shift(gradient, own, others if gradients is None else gradients))


def longest_gradient(own: Float32, others: Sequence[float], factor: float) -> float:
    """Return the norm beyond which a gradient is nonsense: `factor` times the median norm.

    The distance of a model from one's own says nothing of the gradient beside it, and a single
    one of 1e30 would, as part of the shift, end the training of all who remember it. The lower
    median, one's own gradient included, is out of reach for any minority, and for one peer alone.

    Parameters
    ----------
    own
        The round's own mean gradient, shape (n_elements,).
    others
        Norms of the others' gradients.
    """
    with np.errstate(over="ignore"):
        norms = sorted([math.sqrt(float(np.dot(own, own))), *others])
    return factor * norms[(len(norms) - 1) // 2]


def _shift(gradient: Float32 | None, own: float, others: Sequence[Weighted]) -> Float32 | None:
    if gradient is None:
        return None
    # A contributor without a gradient (its payload has one vector) says nothing here.
    others = [(view, weight) for view, weight in others if view.n_vectors > 1 and weight > 0]
    if not others:
        return _zeros(gradient)
    total = own + sum(weight for _, weight in others)
    shift = gradient.copy()
    views, weights = [view for view, _ in others], [weight / total for _, weight in others]
    # The mean minus one's own, in one pass.
    kernels.payload_average(shift, own / total - 1.0, views, weights, 1)
    return shift


def _zeros(like: Float32) -> Float32:
    return np.zeros_like(like)
