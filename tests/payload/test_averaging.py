"""`learnae.average_` and plans: any pytree, in place, with NumPy's bits; refusals by name."""

from __future__ import annotations

import doctest
import gc
from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from kernels.reference import average, bits, floats

import learnae
import learnae.averaging
from learnae.errors import SchemaError

SHAPES = st.lists(
    st.sampled_from([(), (0,), (1,), (7,), (3, 5), (70, 300), (5, 1, 2)]), min_size=1, max_size=9
)


def tree_of(arrays: list[np.ndarray]) -> dict[str, Any]:
    """Nest arrays, with leaves in between that stay local."""
    return {"a": arrays[0], "b": [{"c": tuple(arrays[1:])}, None, 7], "n": np.arange(3)}


@given(st.integers(0, 2**32 - 1), SHAPES, st.integers(1, 12), st.integers(0, 12))
def test_every_leaf_has_numpys_bits(
    seed: int, shapes: list[tuple[int, ...]], n_models: int, in_place: int
) -> None:
    shapes = [(2,), *shapes]
    rng = np.random.default_rng(seed)
    models = [[floats(rng, int(np.prod(s))).reshape(s) for s in shapes] for _ in range(n_models)]
    weights = rng.standard_normal(n_models).astype(np.float32)
    expected = [
        average([array.reshape(-1) for array in leaf], list(weights))
        for leaf in zip(*models, strict=True)
    ]
    ours = models[in_place] if in_place < n_models else [np.empty_like(x) for x in models[0]]
    learnae.average_(tree_of(ours), [tree_of(m) for m in models], list(weights))
    for mine, theirs in zip(ours, expected, strict=True):
        assert np.array_equal(bits(mine.reshape(-1)), bits(theirs))


def test_a_plan_reads_its_arrays_anew_and_keeps_them() -> None:
    ours = {"w": np.zeros((2, 3), np.float32)}
    theirs = np.ones((2, 3), np.float32)
    plan = learnae.AveragePlan(ours, [ours, {"w": theirs}, {"w": np.full((2, 3), 4, np.float32)}])
    gc.collect()
    plan([0.5, 0.5, 0.25])
    assert ours["w"].tolist() == [[1.5] * 3] * 2
    theirs[:] = 3
    plan([1, 1, 0])
    assert ours["w"].tolist() == [[4.5] * 3] * 2
    with pytest.raises(ValueError, match="3 weights expected"):
        plan([1, 1])


def test_equal_weights_by_default_and_one_array_is_a_tree() -> None:
    model = np.array([1, 2, 3], np.float32)
    learnae.average_(model, [model, np.array([3, 2, 1], np.float32)])
    assert model.tolist() == [2, 2, 2]


def test_jax_arrays_are_read_and_not_written() -> None:
    ours = {"w": np.zeros(4, np.float32)}
    learnae.average_(ours, [ours, {"w": jnp.ones(4, jnp.float32)}], [0, 2])
    assert ours["w"].tolist() == [2.0] * 4
    with pytest.raises(ValueError, match=r"dst\['w'\] is a JAX array, which cannot be changed"):
        learnae.average_({"w": jnp.ones(4)}, [ours])


def test_what_is_refused_is_named() -> None:
    f = np.zeros((4, 4), np.float32)
    frozen = f.copy()
    frozen.flags.writeable = False
    memory = np.zeros(32, np.float32)
    half, other = memory[:16].reshape(4, 4), memory[16:].reshape(4, 4)
    across = memory[8:24].reshape(4, 4)
    cases: list[tuple[type[Exception], str, Any, list[Any]]] = [
        (SchemaError, r"dst\['w'\] is float64\[2\]", {"w": np.zeros(2)}, []),
        (SchemaError, "dst has no floating-point leaf", {"w": np.arange(3)}, []),
        (
            SchemaError,
            r"models\[1\]: params leaf \['w'\] is a Python",
            {"w": f},
            [{"w": f}, {"w": 1.0}],
        ),
        (
            SchemaError,
            r"models\[1\]\['w'\] is float32\[4,2\], dst\['w'\] is float32\[4,4\]",
            {"w": f},
            [{"w": f}, {"w": f[:, :2].copy()}],
        ),
        (SchemaError, r"models\[0\] is float32\[16\], dst is float32\[4,4\]", f, [f.reshape(-1)]),
        (SchemaError, r"models\[0\] has no leaf \['x'\]", {"w": f, "x": f.copy()}, [{"w": f}]),
        (SchemaError, r"models\[0\] has a leaf \['x'\], which", {"w": f}, [{"w": f, "x": f}]),
        (SchemaError, r"models\[1\] has a leaf \['v'\] where", {"w": f}, [{"w": f}, {"v": f}]),
        (ValueError, "at least one model", {"w": f}, []),
        (ValueError, r"models\[0\]\['w'\] is not contiguous", {"w": f}, [{"w": f.T}]),
        (ValueError, r"dst\['w'\] is read-only", {"w": frozen}, [{"w": f}]),
        (ValueError, r"dst\['w'\] is float32, which is no array", {"w": f[0, 0]}, [{"w": f[0, 0]}]),
        (ValueError, r"dst\[0\] and dst\[1\] overlap", [half, across], [[half, across]]),
        (ValueError, r"models\[0\]\['w'\] overlaps dst\['w'\] in", {"w": half}, [{"w": across}]),
        (
            ValueError,
            r"models\[1\]\[0\] is dst\[1\], another leaf",
            [half, other],
            [[f, f], [other, half]],
        ),
    ]
    for error, message, dst, models in cases:
        with pytest.raises(error, match=message):
            learnae.average_(dst, models)
    assert not f.any() and not memory.any()


def test_the_examples_run() -> None:
    assert doctest.testmod(learnae.averaging) == doctest.TestResults(failed=0, attempted=9)
