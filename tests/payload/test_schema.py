"""Schema, flatten and unflatten against JAX's own trees, with JAX and without it."""

from __future__ import annotations

import collections
import hashlib
import subprocess
import sys
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given

from learnae.errors import SchemaError
from learnae.payload import LeafSpec, Schema, flatten, flatten_leaves, unflatten


class Layer(NamedTuple):
    w: Any
    bias: Any


@pytest.fixture(params=["jax", "no jax"], autouse=True)
def trees(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test twice: with JAX's tree functions and with our own."""
    if request.param == "no jax":
        monkeypatch.setitem(sys.modules, "jax", None)


def example() -> dict[str, Any]:
    return {
        "b": [np.ones((2, 3), np.float32), None, (np.zeros(4, np.float16),)],
        "a": Layer(np.arange(6, dtype=np.float64).reshape(3, 2), np.float32(7.5)),
        "steps": np.int64(3),
        "mask": np.array([True, False]),
    }


def test_order_paths_and_dtypes_are_those_of_jax_tree() -> None:
    assert Schema.of(example()).leaves == (
        LeafSpec("['a'].w", (3, 2), "float64"),
        LeafSpec("['a'].bias", (), "float32"),
        LeafSpec("['b'][0]", (2, 3), "float32"),
        LeafSpec("['b'][2][0]", (4,), "float16"),
    )


def test_digest_is_the_specified_one() -> None:
    schema = Schema.of({"w": np.zeros((2, 3), np.float32), "b": [np.zeros(3, np.float16)]})
    # Written by hand: every version and every machine must agree on it.
    cbor = b"\x82\x83\x68['b'][0]\x81\x03\x67float16\x83\x65['w']\x82\x02\x03\x67float32"
    assert schema.digest == hashlib.sha256(cbor).digest()
    assert schema.n_elements == 9


def test_flatten_concatenates_in_c_order() -> None:
    tree = {"w": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), "b": np.ones(1)}
    assert flatten(Schema.of(tree), tree).tolist() == [1, 0, 1, 2, 3, 4, 5]


def test_flatten_into_a_given_array() -> None:
    tree = example()
    schema = Schema.of(tree)
    out = np.empty(schema.n_elements, np.float32)
    assert flatten(schema, tree, out) is out
    with pytest.raises(ValueError, match="out must be float32"):
        flatten(schema, tree, np.empty(3, np.float32))


def test_leaves_are_those_of_flatten() -> None:
    tree = {**example(), "c": np.arange(12, dtype=">f4").reshape(3, 4).T, "d": jnp.ones((2, 1))}
    leaves = flatten_leaves(Schema.of(tree), tree)
    assert all(leaf.dtype == np.float32 and leaf.flags.c_contiguous for leaf in leaves)
    assert np.array_equal(np.concatenate(leaves), flatten(Schema.of(tree), tree))
    assert np.shares_memory(leaves[2], tree["b"][0])
    with pytest.raises(SchemaError, match="lack the leaf"):
        flatten_leaves(Schema.of(tree), {"a": tree["a"]})


def test_unflatten_keeps_kinds_dtypes_and_local_leaves() -> None:
    tree = example()
    schema = Schema.of(tree)
    new = unflatten(schema, np.arange(schema.n_elements, dtype=np.float32), tree)
    assert isinstance(new["a"], Layer)
    assert new["a"].w.dtype == np.float64
    assert new["a"].w.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert type(new["a"].bias) is np.float32 and new["a"].bias == 6
    assert new["b"][1] is None and new["b"][2][0].dtype == np.float16
    assert new["steps"] is tree["steps"] and new["mask"] is tree["mask"]


def test_unflatten_copies() -> None:
    tree = {"w": np.zeros(4, np.float32)}
    vector = np.ones(4, np.float32)
    new = unflatten(Schema.of(tree), vector, tree)
    vector[:] = 2
    assert new["w"].tolist() == [1, 1, 1, 1]


def test_jax_arrays_come_back_as_jax_arrays() -> None:
    arrays = {"w": jnp.ones((64, 4), jnp.bfloat16), "n": jnp.arange(3)}
    schema = Schema.of(arrays)
    assert schema.leaves == (LeafSpec("['w']", (64, 4), "bfloat16"),)
    vector = np.full(256, 1.5, np.float32)
    assert flatten(schema, arrays).tolist() == [1.0] * 256
    new = unflatten(schema, vector, arrays)
    vector[:] = 0
    assert new["w"].dtype == ml_dtypes.bfloat16
    assert np.asarray(new["w"]).astype(np.float32).tolist() == [[1.5] * 4] * 64
    if sys.modules["jax"] is not None:
        assert isinstance(new["w"], jax.Array)


def test_a_double_beyond_float32_becomes_infinite_without_a_warning() -> None:
    tree = {"w": np.array([1e300, -1e300, 1.0])}
    assert flatten(Schema.of(tree), tree).tolist() == [np.inf, -np.inf, 1.0]


def test_a_bare_array_is_a_tree() -> None:
    schema = Schema.of(np.zeros(3, np.float32))
    assert schema.leaves == (LeafSpec("", (3,), "float32"),)
    assert unflatten(schema, np.ones(3, np.float32), np.zeros(3, np.float32)).tolist() == [1, 1, 1]


def test_ordered_and_default_dicts_follow_jax() -> None:
    ordered = collections.OrderedDict(z=np.zeros(1), a=np.zeros(2))
    assert [leaf.path for leaf in Schema.of(ordered).leaves] == ["['z']", "['a']"]
    default = collections.defaultdict(list, z=np.zeros(1), a=np.zeros(2))
    assert [leaf.path for leaf in Schema.of(default).leaves] == ["['a']", "['z']"]
    for tree in (ordered, default):
        new = unflatten(Schema.of(tree), np.array([1, 2, 3], np.float32), tree)
        assert type(new) is type(tree) and set(new) == set(tree)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"n": np.arange(3)}, "no floating-point leaf to share"),
        ({"w": np.zeros((0, 3))}, "no floating-point leaf to share"),
        ({"w": 0.5}, r"params leaf \['w'\] is a Python float: make it an array"),
        ({"w": np.zeros(2, np.complex64)}, r"\['w'\] is complex64"),
    ],
)
def test_what_cannot_be_shared_is_named(tree: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Schema.of(tree)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": np.zeros(3), "w": np.zeros((2, 3), np.float32)}, r"leaf \['a'\] where \['w'\]"),
        ({"w": np.zeros((2, 4), np.float32)}, r"\['w'\] is float32\[2,4\], .* float32\[2,3\]"),
        ({"w": np.zeros((2, 3))}, r"\['w'\] is float64\[2,3\], expected is float32\[2,3\]"),
        ({"n": np.arange(2)}, r"lack the leaf \['w'\]"),
        ({"w": np.zeros((2, 3), np.float32), "z": np.zeros(1)}, r"leaf \['z'\] that the swarm"),
    ],
)
def test_the_first_differing_leaf_is_named(tree: Any, message: str) -> None:
    schema = Schema.of({"w": np.zeros((2, 3), np.float32)})
    schema.require({"w": np.ones((2, 3), np.float32)})
    for check in (
        lambda: schema.require(tree),
        lambda: flatten(schema, tree),
        lambda: unflatten(schema, np.zeros(6, np.float32), tree),
    ):
        with pytest.raises(SchemaError, match=message):
            check()


def trees_of(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.text(max_size=3)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(names, inner, max_size=3)
            | st.builds(Layer, inner, inner)
        ),
        max_leaves=8,
    )


LEAVES = (
    st.builds(
        np.full,
        st.lists(st.integers(0, 3), max_size=3),
        st.integers(-9, 9),
        st.sampled_from([np.float32, np.float16, np.int32, np.bool_]),
    )
    | st.none()
)


@given(trees_of(LEAVES))
def test_any_tree_agrees_with_jax(tree: Any) -> None:
    named = [
        (jax.tree_util.keystr(path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        if np.issubdtype(leaf.dtype, np.floating)
    ]
    assume(sum(leaf.size for _, leaf in named))
    schema = Schema.of(tree)
    assert schema.leaves == tuple(LeafSpec(p, leaf.shape, leaf.dtype.name) for p, leaf in named)
    vector = flatten(schema, tree)
    assert vector.tolist() == [x for _, leaf in named for x in leaf.ravel().tolist()]
    new = unflatten(schema, vector, tree)
    assert jax.tree.structure(new) == jax.tree.structure(tree)
    for ours, theirs in zip(jax.tree.leaves(new), jax.tree.leaves(tree), strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def test_unsortable_keys_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)  # JAX has its own words for it
    with pytest.raises(SchemaError, match="keys cannot be sorted"):
        Schema.of({1: np.zeros(1), "a": np.zeros(1)})


def test_does_not_import_jax() -> None:
    code = "import sys, learnae.payload; sys.exit('jax' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
