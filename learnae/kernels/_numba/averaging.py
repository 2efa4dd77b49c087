"""Averages of models that lie in memory as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from learnae.kernels._numba import sums
from learnae.kernels._numba.jit import read_only
from learnae.kernels._seam import Float32, Status, check

__all__ = ["average", "average_plan", "isa", "isas", "mix", "n_threads", "set_isa", "set_threads"]


def isa() -> str:
    return "numba"


def isas() -> tuple[str, ...]:
    return ("numba",)


def set_isa(name: str | None) -> None:
    if name not in (None, "best", "numba"):
        raise ValueError(f"no instruction set {name!r} here: one of numba")


_n_threads = 1


def n_threads() -> int:
    return _n_threads


def set_threads(n: int) -> None:
    # Kept, and without effect: the loops of this backend run in the calling thread.
    global _n_threads
    _n_threads = n


def average(dst: Float32, models: Sequence[Float32], weights: Float32) -> None:
    # The sum needs its own place where dst is one of the later models.
    late = any(np.may_share_memory(dst, model) for model in models[1:])
    total = np.empty_like(dst) if late else dst
    sums.scale(total, read_only(models[0]), weights[0])
    for model, weight in zip(models[1:], weights[1:], strict=True):
        sums.add_scaled(total, read_only(model), weight)
    if late:
        dst[:] = total


def average_plan(
    dst: Sequence[Float32], models: Sequence[Sequence[Float32]]
) -> Callable[[Float32], None]:
    leaves = list(zip(dst, *models, strict=True))

    def run(weights: Float32) -> None:
        for to, *of_models in leaves:
            average(to, of_models, weights)

    return run


def mix(params: Float32, mean: Float32, rate: float) -> None:
    if not 0.0 <= rate <= 1.0:
        check(Status.ARGUMENT, f"rate must be in [0, 1], not {rate}")
    rate32 = np.float32(rate)
    sums.mix(params, read_only(mean), np.float32(1.0) - rate32, rate32)
