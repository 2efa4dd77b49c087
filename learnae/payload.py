"""Params as a pytree, and the same params as one float32 vector: what a payload carries.

Leaves come in the order of ``jax.tree``, each in C order. Only floating-point leaves are
shared; integer and boolean ones stay local. Leaves may be JAX, NumPy or torch arrays. Where
JAX is already imported its own tree functions are used, so that registered nodes work; without
it dicts, lists, tuples, named tuples and None give the same order and the same key paths.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any, TypeAlias

import libipld
import numpy as np
from numpy.typing import NDArray

from learnae.errors import SchemaError

__all__ = [
    "LeafSpec",
    "PyTree",
    "Schema",
    "flatten",
    "flatten_leaves",
    "shared_leaves",
    "unflatten",
]

PyTree: TypeAlias = Any
Float32: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class LeafSpec:
    """One shared leaf: key path as ``jax.tree_util.keystr`` prints it, dimensions, dtype name."""

    path: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_elements(self) -> int:
        """How many numbers the leaf has."""
        return prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Schema:
    """The shared leaves of a model, in order: what all peers of a swarm must agree on."""

    leaves: tuple[LeafSpec, ...]

    @staticmethod
    def of(tree: PyTree) -> Schema:
        """Return the schema of a pytree of arrays (or of anything with shape and dtype).

        Raises
        ------
        SchemaError
            Where the tree has no floating-point leaf, or one that cannot be shared.
        """
        schema = Schema(tuple(spec for spec, _ in shared_leaves(tree)))
        if not schema.n_elements:
            raise SchemaError(
                "these params have no floating-point leaf to share: "
                "pass a dict, list or tuple of float arrays"
            )
        return schema

    @cached_property
    def n_elements(self) -> int:
        """How many numbers all leaves have together."""
        return sum(leaf.n_elements for leaf in self.leaves)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the schema as canonical DAG-CBOR, as docs/payload.md specifies it."""
        content = [[leaf.path, list(leaf.shape), leaf.dtype] for leaf in self.leaves]
        return hashlib.sha256(libipld.encode_dag_cbor(content)).digest()

    def require(self, tree: PyTree) -> None:
        """Raise `SchemaError`, naming the first leaf that differs, unless `tree` fits."""
        self._require([spec for spec, _ in shared_leaves(tree)])

    def _require(self, found: Sequence[LeafSpec]) -> None:
        if found == list(self.leaves):
            return
        for ours, theirs in zip(found, self.leaves, strict=False):
            if ours.path != theirs.path:
                raise SchemaError(f"params have a leaf {ours.path} where {theirs.path} is expected")
            if ours != theirs:
                cure = (
                    f": cast it with .astype({theirs.dtype})" if ours.shape == theirs.shape else ""
                )
                raise SchemaError(f"params leaf {ours.path} is {ours}, expected is {theirs}{cure}")
        if len(found) < len(self.leaves):
            raise SchemaError(f"params lack the leaf {self.leaves[len(found)].path}")
        extra = found[len(self.leaves)].path
        raise SchemaError(f"params have a leaf {extra} that the swarm does not share")


def flatten(schema: Schema, tree: PyTree, out: Float32 | None = None) -> Float32:
    """Return all shared leaves of `tree` as one float32 vector, in `out` where it is given.

    Raises
    ------
    SchemaError
        Where the leaves of `tree` are not those of `schema`.
    """
    shared = list(shared_leaves(tree))
    schema._require([spec for spec, _ in shared])
    if out is None:
        out = np.empty(schema.n_elements, np.float32)
    elif out.shape != (schema.n_elements,) or out.dtype != np.float32:
        raise ValueError(f"out must be float32[{schema.n_elements}], not {out.dtype}{out.shape}")
    start = 0
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
        for spec, leaf in shared:
            end = start + spec.n_elements
            out[start:end] = _as_numpy(leaf).reshape(-1)
            start = end
    return out


def flatten_leaves(schema: Schema, tree: PyTree) -> list[Float32]:
    """Return each shared leaf of `tree` as a float32 vector: what `flatten` puts into one.

    A float32 leaf that is contiguous in the CPU's memory is not copied; others are.
    `learnae.kernels.payload_write` takes such a list as one vector.

    Raises
    ------
    SchemaError
        Where the leaves of `tree` are not those of `schema`.
    """
    shared = list(shared_leaves(tree))
    schema._require([spec for spec, _ in shared])
    with np.errstate(over="ignore"):
        return [
            np.require(_as_numpy(leaf), np.float32, ["C", "A"]).reshape(-1) for _, leaf in shared
        ]


def unflatten(schema: Schema, vector: Float32, like: PyTree) -> PyTree:
    """Return a tree like `like` with its shared leaves taken from `vector`.

    Each shared leaf keeps its dtype and its kind of array; all others are those of `like`.
    Nothing in the result shares memory with `vector`.

    Raises
    ------
    SchemaError
        Where the leaves of `like` are not those of `schema`.
    """
    if vector.shape != (schema.n_elements,):
        raise ValueError(f"vector has shape {vector.shape}, expected ({schema.n_elements},)")
    schema.require(like)
    start = 0

    def replace(path: str, leaf: Any) -> Any:
        nonlocal start
        spec = _spec(path, leaf)
        if spec is None:
            return leaf
        part = vector[start : start + spec.n_elements].reshape(spec.shape)
        start += spec.n_elements
        return _as_kind_of(part, leaf)

    return _map_leaves(replace, like)


# ---- leaves ------------------------------------------------------------------------------


def shared_leaves(tree: PyTree) -> Iterator[tuple[LeafSpec, Any]]:
    """Yield each floating-point leaf as it is, with its description.

    Raises
    ------
    SchemaError
        Where a leaf is a Python float or complex: neither can be shared.
    """
    for path, leaf in _leaves(tree):
        spec = _spec(path, leaf)
        if spec is not None:
            yield spec, leaf


def _spec(path: str, leaf: Any) -> LeafSpec | None:
    """Describe a leaf that is shared; return None for one that stays local."""
    if isinstance(leaf, float) and not isinstance(leaf, np.generic):
        raise SchemaError(f"params leaf {path or 'itself'} is a Python float: make it an array")
    dtype = getattr(leaf, "dtype", None)
    shape = getattr(leaf, "shape", None)
    if dtype is None or shape is None:
        return None
    try:
        name = _name_of(dtype)
    except TypeError:  # a dtype that cannot be hashed is no array's
        return None
    if name.startswith("complex"):
        raise SchemaError(f"params leaf {path} is {name}: share real and imaginary part as two")
    if not name.startswith(("float", "bfloat")):
        return None
    return LeafSpec(path, tuple(int(n) for n in shape), name)


@cache  # NumPy makes the name anew each time, which is half of what a leaf costs
def _name_of(dtype: Any) -> str:
    """Return "float32" for NumPy's and JAX's (also "bfloat16"), and for "torch.float32"."""
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def _as_numpy(leaf: Any) -> NDArray[Any]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(leaf, torch.Tensor):
        return np.asarray(leaf.detach().to("cpu", torch.float32).numpy())
    return np.asarray(leaf)


def _as_kind_of(part: Float32, leaf: Any) -> Any:
    """Return a copy of `part` in the dtype, array kind and place of `leaf`."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(leaf, torch.Tensor):
        copy = torch.from_numpy(part.copy()).to(leaf.device, leaf.dtype)
        return copy.requires_grad_(leaf.requires_grad)
    with np.errstate(over="ignore"):
        copy = part.astype(leaf.dtype)
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(leaf, jax.Array):
        return jax.device_put(copy, leaf.sharding)
    return copy[()] if isinstance(leaf, np.generic) else copy


# ---- trees -------------------------------------------------------------------------------


def _leaves(tree: PyTree) -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its key path, in the order of ``jax.tree``."""
    jax = sys.modules.get("jax")
    if jax is not None:
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            yield jax.tree_util.keystr(path), leaf
        return
    stack = [("", tree)]
    while stack:
        path, node = stack.pop()
        children = _children(node)
        if children is None:
            yield path, node
        else:
            stack.extend((path + key, child) for key, child in reversed(children))


def _map_leaves(replace: Any, tree: PyTree) -> PyTree:
    jax = sys.modules.get("jax")
    if jax is not None:
        tree_util = jax.tree_util
        return tree_util.tree_map_with_path(lambda p, x: replace(tree_util.keystr(p), x), tree)
    return _rebuild(replace, "", tree)


def _rebuild(replace: Any, path: str, node: PyTree) -> PyTree:
    children = _children(node)
    if children is None:
        return replace(path, node)
    new = [_rebuild(replace, path + key, child) for key, child in children]
    if node is None:
        return None
    if isinstance(node, defaultdict):
        return defaultdict(node.default_factory, zip(_keys(node), new, strict=True))
    if isinstance(node, dict):
        return type(node)(zip(_keys(node), new, strict=True))
    return type(node)(*new) if hasattr(node, "_fields") else type(node)(new)


def _keys(node: dict[Any, Any]) -> list[Any]:
    """Order keys as JAX does: sorted, but an OrderedDict keeps its own order."""
    if isinstance(node, OrderedDict):
        return list(node)
    try:
        return sorted(node)
    except TypeError:
        raise SchemaError(
            f"params have a dict whose keys cannot be sorted: {list(node)}; use strings only"
        ) from None


def _children(node: PyTree) -> list[tuple[str, Any]] | None:
    """List a node's children with their part of the key path; return None for a leaf."""
    if node is None:
        return []
    # Subclasses of these are leaves to JAX, but for the two of collections and named tuples.
    if type(node) in (dict, OrderedDict, defaultdict):
        return [(f"[{key!r}]", node[key]) for key in _keys(node)]
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return [(f".{name}", getattr(node, name)) for name in node._fields]
    if type(node) in (list, tuple):
        return [(f"[{i}]", child) for i, child in enumerate(node)]
    return None
