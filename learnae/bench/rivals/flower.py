"""Flower's aggregate functions, as its strategies call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from learnae.bench.cases.entry import Inputs
from learnae.bench.cases.robust import n_trimmed
from learnae.bench.rivals.entry import Rival

__all__ = ["FLOWER"]


def _results(inputs: Inputs, models: Sequence[list[Any]]) -> list[tuple[list[Any], int]]:
    """Return what its clients send: a list of arrays, and the number of examples."""
    return list(zip(models, inputs.examples, strict=True))


def _average(inputs: Inputs, codec: str) -> Callable[[], object]:
    from flwr.server.strategy.aggregate import aggregate

    results = _results(inputs, [[model] for model in inputs.models])
    return lambda: aggregate(results)


def _average_leaves(inputs: Inputs, codec: str) -> Callable[[], object]:
    from flwr.server.strategy.aggregate import aggregate

    results = _results(inputs, inputs.leaves)
    return lambda: aggregate(results)


def _median(inputs: Inputs, codec: str) -> Callable[[], object]:
    from flwr.server.strategy.aggregate import aggregate_median

    results = _results(inputs, [[model] for model in inputs.models])
    return lambda: aggregate_median(results)


def _trimmed_mean(inputs: Inputs, codec: str) -> Callable[[], object]:
    from flwr.server.strategy.aggregate import aggregate_trimmed_avg

    results = _results(inputs, [[model] for model in inputs.models])
    # A little more than the quotient, which may be rounded to one value less.
    proportion = n_trimmed(inputs.k) / inputs.k + 1e-9
    return lambda: aggregate_trimmed_avg(results, proportion)


def _distances(inputs: Inputs, codec: str) -> Callable[[], object]:
    from flwr.server.strategy import aggregate

    models = [[model] for model in inputs.models]
    return lambda: aggregate._compute_distances(models)


def _rival(kernel: str, prepare: Callable[[Inputs, str], Callable[[], object]]) -> Rival:
    return Rival("flower", "flwr", kernel, prepare)


FLOWER = (
    _rival("average", _average),
    _rival("average_leaves", _average_leaves),
    _rival("median", _median),
    _rival("trimmed_mean", _trimmed_mean),
    _rival("distances", _distances),
)
