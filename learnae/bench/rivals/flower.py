"""Flower's aggregate functions, as its strategies call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from learnae.bench.cases.entry import Inputs
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


def _rival(kernel: str, prepare: Callable[[Inputs, str], Callable[[], object]]) -> Rival:
    return Rival("flower", "flwr", kernel, prepare)


FLOWER = (_rival("average", _average), _rival("average_leaves", _average_leaves))
