"""Flower's aggregate functions, as its strategies call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learnae.bench.cases.entry import Inputs
from learnae.bench.rivals.entry import Rival

__all__ = ["FLOWER"]


def _results(inputs: Inputs) -> list[tuple[list[Any], int]]:
    """Return what its clients send: a list of arrays, and the number of examples."""
    return [([model], n) for model, n in zip(inputs.models, inputs.examples, strict=True)]


def _average(inputs: Inputs, codec: str) -> Callable[[], object]:
    from flwr.server.strategy.aggregate import aggregate

    results = _results(inputs)
    return lambda: aggregate(results)[0]


def _rival(kernel: str, prepare: Callable[[Inputs, str], Callable[[], object]]) -> Rival:
    return Rival("flower", "flwr", kernel, prepare)


FLOWER = (_rival("average", _average),)
