"""Rules that a minority of wrong or hostile models cannot move far.

Each takes 1 to 64 models, as arrays or straight from payloads; the latter are walked block by
block, so that the decoded models never exist whole. ``docs/robust.md`` says what each promises.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._checks import (
    as_weights,
    check_floats,
    check_overlap,
    check_vector,
)
from learnae.kernels._load import load
from learnae.kernels._seam import Float32, Float64, PayloadView

__all__ = [
    "clip",
    "distances",
    "krum",
    "median",
    "payload_clip",
    "payload_distances",
    "payload_median",
    "payload_trimmed_mean",
    "trimmed_mean",
]

N_MODELS_MAX = 64


def trimmed_mean(dst: Float32, models: Sequence[Float32], n_trim: int) -> None:
    """Set `dst` to the mean of each element without its `n_trim` smallest and largest values.

    The rest is added in ascending order and divided by its count. NaN and infinity are extreme
    values, the first to be cut off. `dst` may be one of the models.

    Parameters
    ----------
    n_trim
        Values cut off at either end, less than half of the models.

    References
    ----------
    Yin et al., *Byzantine-robust distributed learning: towards optimal statistical rates*, 2018.
    """
    check_floats("dst", dst, writable=True)
    _check_count(len(models))
    for k, model in enumerate(models):
        check_floats(f"models[{k}]", model, n_elements=dst.size)
        check_overlap(dst, model, f"models[{k}]")
    load().trimmed_mean(dst, models, _checked_trim(n_trim, len(models)))


def median(dst: Float32, models: Sequence[Float32]) -> None:
    """Set `dst` to the median of each element; of an even number, the mean of the middle two."""
    trimmed_mean(dst, models, _middle(len(models)))


def distances(models: Sequence[Float32]) -> Float64:
    """Return the squared distances of all pairs, float64, shape (n_models, n_models).

    Differences are taken directly and added in float64: models that are close to each other keep
    the digits that a Gram matrix would lose.
    """
    _check_count(len(models))
    for k, model in enumerate(models):
        check_floats(f"models[{k}]", model, n_elements=models[0].size)
    return load().distances(models)


def krum(
    distances2: Float64, n_faulty: int, n_selected: int = 1
) -> tuple[NDArray[np.int64], Float64]:
    """Select the models whose nearest neighbours are nearest.

    A model's score is the sum of its squared distances to its n - n_faulty - 2 nearest others.

    Parameters
    ----------
    distances2
        Of all pairs, shape (n, n), as `distances` gives them; NaN counts as an infinity.
    n_faulty
        How many of the models may be wrong: ``n >= 2 * n_faulty + 3``.
    n_selected
        1 for Krum, up to ``n - n_faulty`` for multi-Krum.

    Returns
    -------
    tuple
        Indices of the selected, best first, int64, and the scores of all, float64, shape (n,).

    References
    ----------
    Blanchard et al., *Machine learning with adversaries: Byzantine tolerant gradient descent*,
    NeurIPS 2017.
    """
    distances2 = np.ascontiguousarray(distances2, np.float64)
    n = distances2.shape[0] if distances2.ndim else 0
    if distances2.shape != (n, n):
        raise ValueError(f"distances2 must be a square matrix, not of shape {distances2.shape}")
    if n_faulty < 0 or not 2 * n_faulty + 3 <= n <= N_MODELS_MAX:
        raise ValueError(
            f"Krum needs 2 * n_faulty + 3 to {N_MODELS_MAX} models; there are {n}, "
            f"n_faulty is {n_faulty}"
        )
    if not 1 <= n_selected <= n - n_faulty:
        raise ValueError(f"n_selected is {n_selected}; of {n} models 1 to {n - n_faulty} can be")
    return load().krum(distances2, n_faulty, n_selected)


def clip(
    distances2: Sequence[float] | Float64, weights: Sequence[float], radius: float
) -> tuple[float, Float32]:
    """Return the weights with which an average around one's own model is clipped.

    ``weights[k] * min(1, radius / d_k)``, where ``d_k**2 = distances2[k]`` is model k's distance
    from one's own, and for one's own what they lack to 1: so no model moves it by more than
    ``weights[k] * radius``.

    Returns
    -------
    tuple
        The own weight, and those of the models, float32, shape (n,): for `payload_average`.

    Raises
    ------
    ValueError
        Where a distance is NaN or `radius` is negative.

    References
    ----------
    Karimireddy et al., *Learning from history for Byzantine robust optimization*, ICML 2021.
    """
    _check_radius(radius)
    far = np.ascontiguousarray(distances2, np.float64)
    if far.ndim != 1:
        raise ValueError(f"distances2 must have one dimension, not shape {far.shape}")
    return load().clip(far, as_weights(weights, far.size), float(radius))


def payload_trimmed_mean(
    dst: Float32, own: Float32 | None, views: Sequence[PayloadView], n_trim: int, vector: int
) -> None:
    """Set `dst` as `trimmed_mean` does, over vectors of payloads and `own`, where it is given.

    `dst` may be `own`.
    """
    check_floats("dst", dst, writable=True)
    _check_models(own, views, vector, dst.size)
    if own is not None:
        check_overlap(dst, own, "own")
    n_trim = _checked_trim(n_trim, len(views) + (own is not None))
    load().payload_trimmed_mean(dst, own, views, n_trim, vector)


def payload_median(
    dst: Float32, own: Float32 | None, views: Sequence[PayloadView], vector: int
) -> None:
    """Set `dst` as `median` does, over vectors of payloads and `own`, where it is given."""
    n_trim = _middle(len(views) + (own is not None))
    payload_trimmed_mean(dst, own, views, n_trim, vector)


def payload_distances(own: Float32 | None, views: Sequence[PayloadView], vector: int) -> Float64:
    """Return what `distances` does for `own`, where it is given, and then the payloads' vectors."""
    _check_count(len(views) + (own is not None))
    _check_models(own, views, vector, views[0].n_elements if own is None else own.size)
    return load().payload_distances(own, views, vector)


def payload_clip(
    dst: Float32,
    views: Sequence[PayloadView],
    weights: Sequence[float],
    radius: float,
    vector: int,
) -> Float32:
    """Average payloads into `dst`, one's own model, with their differences to it clipped.

    Returns
    -------
    Float32
        The weights of the payloads as `clip` gives them.

    Raises
    ------
    PayloadError
        Where a payload has NaN or an infinity; `dst` is as it was.
    """
    check_floats("dst", dst, writable=True)
    for k, view in enumerate(views):
        _check_view(k, view, vector, dst.size)
    _check_radius(radius)
    return load().payload_clip(dst, views, as_weights(weights, len(views)), float(radius), vector)


def _middle(n_models: int) -> int:
    return max(n_models - 1, 0) // 2


def _checked_trim(n_trim: int, n_models: int) -> int:
    if not 0 <= 2 * n_trim < n_models:
        raise ValueError(f"n_trim of {n_trim} at either end leaves none of {n_models} models")
    return n_trim


def _check_count(n_models: int) -> None:
    if not 1 <= n_models <= N_MODELS_MAX:
        raise ValueError(f"{n_models} models; robust aggregation takes 1 to {N_MODELS_MAX}")


def _check_radius(radius: float) -> None:
    if not radius >= 0:
        raise ValueError(f"radius is {radius}; it must be 0 or more")


def _check_view(k: int, view: PayloadView, vector: int, n_elements: int) -> None:
    check_vector(view, vector)
    if view.n_elements != n_elements:
        raise ValueError(f"views[{k}] has {view.n_elements} elements a vector, not {n_elements}")


def _check_models(
    own: Float32 | None, views: Sequence[PayloadView], vector: int, n_elements: int
) -> None:
    _check_count(len(views) + (own is not None))
    if own is not None:
        check_floats("own", own, n_elements=n_elements)
    for k, view in enumerate(views):
        _check_view(k, view, vector, n_elements)
