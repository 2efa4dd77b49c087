"""Averages of models that lie in memory as they are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise

from learnae.kernels._checks import as_float32, as_weights, check_floats, check_overlap
from learnae.kernels._load import load
from learnae.kernels._seam import Float32

__all__ = ["average", "average_plan", "mix"]


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


def average_plan(
    dst: Sequence[Float32], models: Sequence[Sequence[Float32]], *, paths: Sequence[str] = ()
) -> Callable[[Sequence[float]], None]:
    """Return a function of weights that sets ``dst[l] = sum_k weights[k] * models[k][l]``.

    One call does all leaves l. Everything is checked here, once; the arrays are kept alive, and
    read and written at each call. A leaf of `dst` may be the same leaf of a model, and overlaps
    nothing else. Messages call the leaves by their `paths`; by default by their numbers.
    """
    paths = paths or [f"[{leaf}]" for leaf in range(len(dst))]
    if not models:
        raise ValueError("an average needs at least one model")
    for leaf, array in enumerate(dst):
        check_floats(f"dst{paths[leaf]}", array, writable=True)
    for k, model in enumerate(models):
        if len(model) != len(dst):
            raise ValueError(f"models[{k}] has {len(model)} leaves, dst has {len(dst)}")
        for leaf, array in enumerate(model):
            check_floats(f"models[{k}]{paths[leaf]}", array, n_elements=dst[leaf].size)
    used = [leaf for leaf, array in enumerate(dst) if array.size]
    dst = [dst[leaf] for leaf in used]
    models = [[model[leaf] for leaf in used] for model in models]
    _check_overlaps(dst, models, [paths[leaf] for leaf in used])
    run = load().average_plan(dst, models)
    return lambda weights: run(as_weights(weights, len(models)))


def _check_overlaps(
    dst: Sequence[Float32], models: Sequence[Sequence[Float32]], paths: Sequence[str]
) -> None:
    """Refuse what may be written while another leaf still needs it. No array is empty."""
    places = sorted((*_span(array), path) for array, path in zip(dst, paths, strict=True))
    for (_, end, path), (start, _, other) in pairwise(places):
        if start < end:
            raise ValueError(f"dst{path} and dst{other} overlap: two leaves of one model")
    spans = [(start, end) for start, end, _ in places]
    ends = [end for _, end in spans]
    for k, model in enumerate(models):
        for leaf, array in enumerate(model):
            start, end = _span(array)
            at = bisect_left(ends, start + 1)
            if at < len(spans) and spans[at][0] < end and spans[at] != (start, end):
                raise ValueError(f"models[{k}]{paths[leaf]} overlaps dst{places[at][2]} in part")
            if at < len(spans) and spans[at] == (start, end) and _span(dst[leaf]) != (start, end):
                raise ValueError(f"models[{k}]{paths[leaf]} is dst{places[at][2]}, another leaf")


def _span(array: Float32) -> tuple[int, int]:
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes
