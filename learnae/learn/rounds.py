"""The local round: some optimiser steps as one compiled call, between two merges.

A node exchanges one flat float32 vector of params and one of the mean gradient, so the round
takes and returns flat vectors: pytrees exist only inside the compiled function. Elements are
ordered as in the payload: floating leaves in `jax.tree` order, each in C order. Between the
steps of a round the leaves stay apart: cutting them out of one vector and joining them again
in every step made a model of 5 million params 2-3 times slower (a tiny one is as fast either
way). Leaves of narrower floating types are trained in float32 and cast for the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError, StateError
from learnae.learn.models import Model, blame

if TYPE_CHECKING:
    import optax

__all__ = ["Layout", "RoundFns", "RoundResult", "dump_state", "load_state", "make_round"]

PyTree = Any
Float32 = NDArray[np.float32]


class RoundResult(NamedTuple):
    """What a round leaves.

    Attributes
    ----------
    params
        float32 [n_elements], read-only: params after the last step, before any merge.
    state
        Optimiser state, for the next call; it belongs to that call (its memory is donated).
    gradient
        float32 [n_elements], read-only: mean over the steps of the raw local gradient, without
        any shift. None where drift correction is off.
    loss
        Mean loss over the steps.
    """

    params: Float32
    state: PyTree
    gradient: Float32 | None
    loss: float


@dataclass(frozen=True)
class Layout:
    """Where each leaf lies in the flat vector.

    Attributes
    ----------
    treedef, leaves
        Structure, and template leaves: floating ones give shape and dtype, the others are
        local constants that are neither trained nor shared.
    n_elements
        Length of the flat vector.
    """

    treedef: Any
    leaves: tuple[Any, ...]
    n_elements: int

    @staticmethod
    def of(like: PyTree) -> Layout:
        """Return the layout of params; `ModelError` if no leaf is floating."""
        flat, treedef = jax.tree_util.tree_flatten(like)
        leaves = tuple(np.asarray(leaf) for leaf in flat)
        n = sum(leaf.size for leaf in leaves if _floating(leaf))
        if n == 0:
            raise ModelError("these params hold no floating-point array: nothing can be trained")
        return Layout(treedef, leaves, n)

    def flatten(self, params: PyTree) -> Float32:
        """Return the floating leaves as one new float32 vector (NumPy, outside any jit)."""
        leaves = jax.tree_util.tree_leaves(params)
        shared = [
            np.asarray(leaf).astype(np.float32).ravel()
            for leaf, template in zip(leaves, self.leaves, strict=True)
            if _floating(template)
        ]
        return np.concatenate(shared)

    def split(self, flat: Any) -> list[Any]:
        """Return the floating leaves, in float32, from a flat vector (NumPy, or inside a jit)."""
        parts, start = [], 0
        for template in self.leaves:
            if _floating(template):
                part = flat[start : start + template.size].reshape(template.shape)
                parts.append(part)
                start += template.size
        return parts

    def join(self, parts: Sequence[Any]) -> Any:
        """Return the flat vector, inside a jit."""
        return jnp.concatenate([part.ravel() for part in parts])

    def assemble(self, parts: Sequence[Any]) -> PyTree:
        """Return params from their floating leaves, each in the dtype it has in `like`."""
        rest = iter(parts)
        leaves = []
        for template in self.leaves:
            if not _floating(template):
                leaves.append(template)
                continue
            part = next(rest)
            # JAX computes in 32 bits, and warns when it is asked for 64.
            wide = template.dtype == np.float64 and not isinstance(part, np.ndarray)
            leaves.append(part.astype(np.float32 if wide else template.dtype))
        return jax.tree_util.tree_unflatten(self.treedef, leaves)

    def unflatten(self, flat: Any) -> PyTree:
        """Return params from a flat vector; works on NumPy arrays and inside a jit."""
        return self.assemble(self.split(flat))


@dataclass(frozen=True)
class RoundFns:
    """The compiled functions of one model and optimiser.

    Attributes
    ----------
    layout
        Flat vector to params and back.
    start
        () to a fresh optimiser state.
    run
        (params, state, shift, batches, rate=1.0) to `RoundResult`. `params` and `shift` are
        float32 [n_elements] and stay as they are (`shift` None means zero); `batches` is
        (x [steps, batch, ...], y [steps, batch]); `rate` scales every update of this round.
    metrics
        (params, batch) to a mapping of floats: `loss`, and the model's own metrics.
    """

    layout: Layout
    start: Callable[[], PyTree]
    run: Callable[..., RoundResult]
    metrics: Callable[[Float32, Any], dict[str, float]]


def _floating(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def make_round(
    model: Model,
    optimizer: optax.GradientTransformation,
    like: PyTree,
    drift_correction: bool = True,
) -> RoundFns:
    """Return the compiled functions for a model; nothing is compiled before its first use.

    Parameters
    ----------
    like
        Params that give structure, shapes and dtypes (their values are not used, except those
        of integer leaves).
    drift_correction
        Whether to add the shift to each gradient and to return the mean gradient.

    Raises
    ------
    ModelError
        From the first `run` or `metrics` if the user's function raises, naming its line.
    """
    layout = Layout.of(like)
    step = _make_step(model, optimizer, layout)

    def scan(params: Any, state: Any, shift: Any, batches: Any, rate: Any) -> Any:
        shared = layout.split(params)
        moved = layout.split(shift) if drift_correction else None
        totals = [jnp.zeros_like(leaf) for leaf in shared] if drift_correction else None

        def body(carry: Any, batch: Any) -> Any:
            return step(carry, batch, moved, rate)

        (shared, state, totals), losses = jax.lax.scan(body, (shared, state, totals), batches)
        gradient = None if totals is None else layout.join(totals) / losses.shape[0]
        return layout.join(shared), state, gradient, losses.mean()

    compiled = jax.jit(scan, donate_argnames=("params", "state"))
    start = jax.jit(lambda: optimizer.init(layout.split(jnp.zeros(layout.n_elements))))
    zeros = np.zeros(layout.n_elements, np.float32)
    measure = jax.jit(lambda params, batch: _measure(model, layout.unflatten(params), batch))

    def run(
        params: Float32, state: PyTree, shift: Float32 | None, batches: Any, rate: float = 1.0
    ) -> RoundResult:
        moved = zeros if shift is None else shift
        with _Blame(model, "loss(params, batch)"):
            out = compiled(params, state, moved, batches, np.float32(rate))
        gradient = None if out[2] is None else np.asarray(out[2])
        return RoundResult(np.asarray(out[0]), out[1], gradient, float(out[3]))

    def metrics(params: Float32, batch: Any) -> dict[str, float]:
        with _Blame(model, "loss or metrics"):
            values = measure(params, batch)
        return {name: float(value) for name, value in values.items()}

    return RoundFns(layout, start, run, metrics)


def _make_step(
    model: Model, optimizer: optax.GradientTransformation, layout: Layout
) -> Callable[..., Any]:
    def loss_of(shared: list[Any], batch: Any) -> Any:
        return _scalar(model.loss(layout.assemble(shared), batch))

    def step(carry: Any, batch: Any, shift: Any, rate: Any) -> Any:
        shared, state, totals = carry
        loss, gradient = jax.value_and_grad(loss_of)(shared, batch)
        if totals is not None:
            totals = [total + part for total, part in zip(totals, gradient, strict=True)]
            gradient = [part + moved for part, moved in zip(gradient, shift, strict=True)]
        updates, state = optimizer.update(gradient, state, shared)
        shared = [leaf + rate * update for leaf, update in zip(shared, updates, strict=True)]
        return (shared, state, totals), loss.astype(jnp.float32)

    return step


def _scalar(value: Any) -> Any:
    if getattr(value, "shape", None) != ():
        shape = getattr(value, "shape", type(value).__name__)
        raise ModelError(
            f"the model's loss returned {shape}; it must return a scalar, such as a mean"
        )
    return value


def _measure(model: Model, params: PyTree, batch: Any) -> Mapping[str, Any]:
    own = {} if model.metrics is None else model.metrics(params, batch)
    if not isinstance(own, Mapping):
        raise ModelError(
            f"the model's metrics returned {type(own).__name__}; it must return a mapping of name "
            "to scalar"
        )
    return {"loss": _scalar(model.loss(params, batch)), **{str(k): v for k, v in own.items()}}


class _Blame:
    """Turn an exception out of the user's model file into its one line."""

    def __init__(self, model: Model, doing: str) -> None:
        self._source, self._doing = model.source, doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._source is None or not isinstance(error, Exception):
            return
        if not isinstance(error, ModelError):
            raise blame(error, self._source, self._doing) from error


def dump_state(state: PyTree) -> dict[str, NDArray[Any]]:
    """Return an optimiser state as named arrays, for a checkpoint."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    # Copies: the next round takes the state's memory.
    return {jax.tree_util.keystr(path): np.array(leaf, copy=True) for path, leaf in leaves}


def load_state(like: PyTree, arrays: Mapping[str, NDArray[Any]]) -> PyTree:
    """Return the optimiser state that `dump_state` took apart.

    Parameters
    ----------
    like
        A fresh state of the same optimiser, from `RoundFns.start`.

    Raises
    ------
    StateError
        If an array is missing or has another shape or dtype: another optimiser's state.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(like)
    found = []
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path)
        array = arrays.get(name)
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise StateError(
                f"the saved optimiser state does not fit this charter's optimiser at {name!r}; "
                "start from a fresh folder (--home)"
            )
        found.append(array)
    return jax.tree_util.tree_unflatten(treedef, found)
