"""Averages of models that lie in memory as they are, by a plan that was made before."""

from __future__ import annotations

from learnae import kernels
from learnae.bench.cases.entry import Inputs, Kernel, Prepared
from learnae.bench.floor import Traffic

__all__ = ["AVERAGING"]


def _average(inputs: Inputs, codec: str) -> Prepared:
    dst, weights = inputs.models[0], inputs.weights
    plan = kernels.average_plan([dst], [[model] for model in inputs.models])
    return Prepared(lambda: plan(weights), _traffic(inputs))


def _average_leaves(inputs: Inputs, codec: str) -> Prepared:
    weights, models = inputs.weights, inputs.leaves
    plan = kernels.average_plan(models[0], models)
    return Prepared(lambda: plan(weights), _traffic(inputs))


def _traffic(inputs: Inputs) -> Traffic:
    nbytes = inputs.models[0].nbytes
    return Traffic(read=(inputs.k - 1) * nbytes, scaled=nbytes)


AVERAGING = (
    Kernel("average", "averaging", _average, k=8),
    Kernel("average_leaves", "averaging", _average_leaves, k=8),
)
