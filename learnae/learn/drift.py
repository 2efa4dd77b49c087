"""Drift correction: control variates against what skewed data does to local training.

A peer whose data is one-sided walks towards its own optimum during a round. With *g_j* the
mean of the raw gradients of peer *j*'s last round, as published beside its params, and *w_j*
its number of samples, peer *i* shifts each local gradient of its next round by ::

    shift_i = sum_j w_j g_j / sum_j w_j  -  g_i

where *j* runs over peer *i* itself and every peer it remembers. Where all peers know each
other's newest gradients, the weighted shifts sum to zero, so the swarm's mean params move as
if nobody had shifted; each single peer moves like the swarm. Kin: SCAFFOLD (Karimireddy et
al., 2020), gradient tracking, MIFA (Gu et al., 2021); this variant is our own.

What happens where something is missing:

- **A stale contributor** counts with its last gradient, as it counts with its last params.
- **A contributor without a gradient** (its payload has one vector) is left out, and the
  weights of the others are normalised without it.
- **A peer without a gradient of its own** (late joiner in its first round, restart without a
  checkpoint) does not shift: without its own part the difference would be a full extra
  gradient, not a correction.
- **A contributor whose gradient is absurdly longer than the median one** is left out too.
- **Nobody else known**: the shift is zero exactly.

The shift itself is computed straight from payloads, in `learnae.node.merging`. What is here is for
one's own training loop, and needs optax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError

if TYPE_CHECKING:
    import optax

__all__ = [
    "DriftState",
    "drift_correction",
    "read_gradient",
    "with_shift",
]

PyTree = Any
Float32 = NDArray[np.float32]


class DriftState(NamedTuple):
    """State of `drift_correction`: pytrees like params, and a step count.

    Attributes
    ----------
    shift
        Added to each gradient.
    total
        Sum of the raw gradients since `with_shift`.
    count
        int32, number of gradients in `total`.
    """

    shift: PyTree
    total: PyTree
    count: Any


def drift_correction() -> optax.GradientTransformation:
    """Return the correction as a gradient transformation, for one's own loop.

    Put it first, where it sees raw gradients::

        optimizer = optax.chain(drift_correction(), optax.adam(1e-3))

    Between rounds, `read_gradient` gives what to publish and `with_shift` takes what the swarm
    answered. The steps are those of the built-in round.
    """
    import jax
    import jax.numpy as jnp
    import optax

    def init(params: PyTree) -> DriftState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return DriftState(zeros, zeros, jnp.zeros((), jnp.int32))

    def update(
        updates: PyTree, state: DriftState, params: PyTree = None
    ) -> tuple[PyTree, DriftState]:
        total = jax.tree.map(jnp.add, state.total, updates)
        shifted = jax.tree.map(jnp.add, updates, state.shift)
        return shifted, DriftState(state.shift, total, state.count + 1)

    return optax.GradientTransformation(init, update)


def _is_drift(node: Any) -> bool:
    return isinstance(node, DriftState)


def read_gradient(opt_state: PyTree) -> PyTree | None:
    """Return the mean raw gradient since the last `with_shift`, as NumPy arrays like params.

    None before the first step: then there is nothing to publish yet.

    Parameters
    ----------
    opt_state
        State of an optimiser that holds `drift_correction` anywhere in its chain.

    Raises
    ------
    ModelError
        If the state holds none.
    """
    state = _find(opt_state)
    count = int(state.count)
    if count == 0:
        return None
    import jax

    # NumPy, since each jnp call outside a jit would be compiled by itself.
    return jax.tree.map(lambda leaf: _divide(np.asarray(leaf), count), state.total)


def _divide(total: NDArray[Any], count: int) -> NDArray[Any]:
    return (total.astype(np.float32) / np.float32(count)).astype(total.dtype)


def with_shift(opt_state: PyTree, shift: PyTree | None) -> PyTree:
    """Return the optimiser state with a new shift and an empty sum of gradients.

    Parameters
    ----------
    shift
        Pytree like params (swarm mean minus own mean gradient), or None for no shift.

    Raises
    ------
    ModelError
        If the state holds no `drift_correction`, or the shift is not like params.
    """
    import jax

    _find(opt_state)

    def renew(node: Any) -> Any:
        if not _is_drift(node):
            return node
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), node.total)
        try:
            moved = zeros if shift is None else jax.tree.map(_like, node.total, shift)
        except ValueError as error:
            raise ModelError(
                "this shift is not like the params: give the swarm's mean gradient minus "
                "read_gradient(state), leaf by leaf"
            ) from error
        return DriftState(moved, zeros, np.zeros((), np.int32))

    return jax.tree.map(renew, opt_state, is_leaf=_is_drift)


def _like(template: Any, leaf: Any) -> NDArray[Any]:
    array = np.asarray(leaf, dtype=template.dtype)
    if array.shape != template.shape:
        raise ValueError(f"{array.shape} is not {template.shape}")
    return array


def _find(opt_state: PyTree) -> DriftState:
    import jax

    nodes = jax.tree.leaves(opt_state, is_leaf=_is_drift)
    found = [node for node in nodes if isinstance(node, DriftState)]
    if not found:
        raise ModelError(
            "this optimiser state holds no drift correction: build the optimiser as "
            "optax.chain(learnae.learn.drift_correction(), optax.adam(1e-3))"
        )
    return found[0]
