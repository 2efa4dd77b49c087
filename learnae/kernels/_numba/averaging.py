"""Averages of models that lie in memory as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from learnae.kernels._numba import pool, sums
from learnae.kernels._numba.jit import read_only
from learnae.kernels._numba.pool import n_threads, set_threads
from learnae.kernels._numba.streams import SUMS
from learnae.kernels._seam import Float32, Status, check

__all__ = ["average", "average_plan", "isa", "isas", "mix", "n_threads", "set_isa", "set_threads"]

_ONE = np.float32(1)


def isa() -> str:
    return "numba"


def isas() -> tuple[str, ...]:
    return ("numba",)


def set_isa(name: str | None) -> None:
    if name not in (None, "best", "numba"):
        raise ValueError(f"no instruction set {name!r} here: one of numba")


def average(dst: Float32, models: Sequence[Float32], weights: Float32) -> None:
    in_place = np.may_share_memory(dst, models[0])
    # The sum needs its own place where dst is one of the later models.
    late = any(np.may_share_memory(dst, model) for model in models[1:])
    sources = [read_only(model) for model in models]

    def make_job() -> Callable[[slice], None]:
        spare = np.empty(min(pool.CHUNK, dst.size) if late else 0, np.float32)

        def job(chunk: slice) -> None:
            out = dst[chunk]
            total = spare[: out.size] if late else out
            if late or not in_place:
                np.copyto(total, sources[0][chunk])
            _add_all(total, [source[chunk] for source in sources[1:]], weights)
            if late:
                out[:] = total

        return job

    pool.run(make_job, dst.size)


def _add_all(total: Float32, sources: Sequence[Float32], weights: Float32) -> None:
    """Set ``total = weights[0] * total + weights[1] * sources[0] + ...``, in even passes."""
    most = len(SUMS) - 1
    step = -(-len(sources) // max(1, -(-len(sources) // most)))
    SUMS[step](total, weights[0], *sources[:step], *weights[1 : 1 + step])
    for at in range(step, len(sources), max(1, step)):
        part = sources[at : at + step]
        SUMS[len(part)](total, _ONE, *part, *weights[1 + at : 1 + at + step])


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
