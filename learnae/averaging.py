"""Average whole models in place: arrays or pytrees of them, NumPy, JAX or torch.

The swarm itself averages payloads (`learnae.kernels.payload_average`); this is for models that lie
in memory, as in one's own federated-learning code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from learnae import kernels
from learnae.errors import SchemaError
from learnae.payload import LeafSpec, PyTree, shared_leaves

__all__ = ["AveragePlan", "average_"]


class AveragePlan:
    """An average over the same memory again and again: checked once, then one call each.

    Every model is a pytree (or one array) with the leaves of `dst`: float32, contiguous, in the
    CPU's memory, NumPy or torch; models may be JAX arrays too, which nothing can write to.
    Leaves that are not floating-point are left alone. The plan keeps all arrays alive and reads
    them anew at each call, so that a training loop may update them in between.

    Parameters
    ----------
    dst : PyTree
        What is written. It may be one of `models`; any other overlap is refused.
    models : sequence of PyTree
        At least one.

    Raises
    ------
    SchemaError
        Where a leaf is missing, too many, of another shape, or not float32.
    ValueError
        Where a leaf cannot be used as it lies in memory.

    Both name the model and the leaf, such as ``models[2]['dense']['w']``.

    Examples
    --------
    >>> import numpy as np
    >>> ours, theirs = {"w": np.ones((2, 2), np.float32)}, {"w": np.zeros((2, 2), np.float32)}
    >>> average = AveragePlan(ours, [ours, theirs])
    >>> average([0.75, 0.25])
    >>> ours["w"].tolist()
    [[0.75, 0.75], [0.75, 0.75]]
    """

    def __init__(self, dst: PyTree, models: Sequence[PyTree]) -> None:
        expected = _leaves("dst", dst)
        specs = [spec for spec, _ in expected]
        written = [_flat(spec, leaf, "dst", writable=True) for spec, leaf in expected]
        rows = []
        for k, model in enumerate(models):
            found = _leaves(f"models[{k}]", model)
            _require_same(f"models[{k}]", [spec for spec, _ in found], specs)
            rows.append([_flat(spec, leaf, f"models[{k}]") for spec, leaf in found])
        self._n_models = len(models)
        self._run = kernels.average_plan(written, rows, paths=[spec.path for spec in specs])

    def __call__(self, weights: Sequence[float] | None = None) -> None:
        """Set ``dst = sum_k weights[k] * models[k]``, added in this order.

        Parameters
        ----------
        weights : sequence of float, optional
            One a model, rounded to float32 and used as they are. By default all are equal, and
            `dst` becomes the mean.
        """
        self._run([1.0 / self._n_models] * self._n_models if weights is None else weights)


def average_(dst: PyTree, models: Sequence[PyTree], weights: Sequence[float] | None = None) -> None:
    """Set ``dst = sum_k weights[k] * models[k]`` in place, leaf by leaf.

    As `AveragePlan`, made for one call. Where the same arrays are averaged repeatedly, make the
    plan once: checking a hundred leaves of eight models takes longer than averaging them.

    Examples
    --------
    >>> import numpy as np
    >>> model = np.zeros(3, np.float32)
    >>> average_(model, [model, np.ones(3, np.float32)])
    >>> model.tolist()
    [0.5, 0.5, 0.5]
    """
    AveragePlan(dst, models)(weights)


def _leaves(owner: str, tree: PyTree) -> list[tuple[LeafSpec, Any]]:
    """Return the leaves that are averaged."""
    try:
        found = list(shared_leaves(tree))
    except SchemaError as error:
        raise SchemaError(f"{owner}: {error}") from None
    if not any(spec.n_elements for spec, _ in found):
        raise SchemaError(f"{owner} has no floating-point leaf: pass an array, or a tree of arrays")
    return found


def _require_same(owner: str, found: Sequence[LeafSpec], expected: Sequence[LeafSpec]) -> None:
    """Refuse a model whose leaves are not those of dst, by the first that differs."""
    for theirs, ours in zip(found, expected, strict=False):
        if theirs.path != ours.path:
            raise SchemaError(f"{owner} has a leaf {theirs.path} where dst has {ours.path}")
        if theirs != ours:
            raise SchemaError(f"{owner}{theirs.path} is {theirs}, dst{ours.path} is {ours}")
    if len(found) < len(expected):
        raise SchemaError(f"{owner} has no leaf {expected[len(found)].path}, which dst has")
    if len(found) > len(expected):
        raise SchemaError(f"{owner} has a leaf {found[len(expected)].path}, which dst has not")


def _flat(spec: LeafSpec, leaf: Any, owner: str, *, writable: bool = False) -> kernels.Float32:
    """See a leaf as one-dimensional, without a copy."""
    name = f"{owner}{spec.path}"
    if spec.dtype != "float32":
        raise SchemaError(f"{name} is {spec}: only float32 is averaged in place")
    array = _as_it_lies(name, leaf, writable=writable)
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} is not contiguous: pass a copy of it")
    if writable and not array.flags.writeable:
        raise ValueError(f"{name} is read-only and would be written to")
    return array.reshape(-1)


def _as_it_lies(name: str, leaf: Any, *, writable: bool) -> kernels.Float32:
    jax, torch = sys.modules.get("jax"), sys.modules.get("torch")
    if torch is not None and isinstance(leaf, torch.Tensor):
        if leaf.device.type != "cpu":
            raise ValueError(f"{name} lies on {leaf.device}: move it with .cpu()")
        return np.asarray(leaf.detach().numpy())
    if jax is not None and isinstance(leaf, jax.Array):
        if writable:
            raise ValueError(f"{name} is a JAX array, which cannot be changed: write to NumPy's")
        return np.asarray(leaf)
    if not isinstance(leaf, np.ndarray):
        raise ValueError(f"{name} is {type(leaf).__name__}, which is no array")
    return leaf
