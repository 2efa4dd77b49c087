"""JAX: one compiled expression over all models, whose first argument is donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learnae.bench.cases.entry import Inputs
from learnae.bench.rivals.entry import Rival

__all__ = ["JAX"]


def _average(inputs: Inputs, codec: str) -> Callable[[], object]:
    import jax

    weights = [float(weight) for weight in inputs.weights]

    def mean(own: Any, others: Any) -> Any:
        total = own * weights[0]
        for other, weight in zip(others, weights[1:], strict=True):
            total = total + other * weight
        return total

    # In its own words: donation lets XLA write the result where the argument was.
    donating = jax.jit(mean, donate_argnums=0)
    device = jax.devices("cpu")[0]
    state = [jax.device_put(inputs.models[0].copy(), device)]
    others = [jax.dlpack.from_dlpack(model, copy=False) for model in inputs.models[1:]]

    compiled = donating.lower(state[0], others).compile()

    def run() -> Any:
        state[0] = compiled(state[0], others)
        return state[0].block_until_ready()

    return run


JAX = (Rival("jax", "jax", "average", _average),)
