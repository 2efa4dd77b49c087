"""What a payload must be to get in, and that nothing of a refused one is left behind."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels.reference import payload as reference_payload
from kernels.reference import with_table
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import CheckpointError, PayloadError, SchemaError
from learnae.node.gate import gate, open_payload, saved_params
from learnae.payload import Schema

Float32 = NDArray[np.float32]
N = 600
SCHEMA = Schema.of({"w": np.zeros(N, np.float32)})
OTHER = Schema.of({"v": np.zeros(N, np.float32)})
LARGER = Schema.of({"w": np.zeros(N + 1, np.float32)})


def ones(value: float = 1.0, n: int = N) -> Float32:
    return np.full(n, value, np.float32)


def written(*vectors: Float32, codec: str = "f32", schema: Schema = SCHEMA) -> memoryview:
    return memoryview(kernels.payload_write(codec, schema.digest, vectors))


def refused(buffer: memoryview, match: str | None = None, params: Float32 | None = None) -> None:
    params = ones() if params is None else params
    before = params.copy()
    with pytest.raises(PayloadError, match=match) as caught:
        gate(buffer, SCHEMA, params, 100.0)
    assert "\n" not in str(caught.value)
    assert np.array_equal(params, before)


@pytest.mark.parametrize("codec", ["f32", "bf16", "f16", "i8", "i4"])  # that carry a model alone
def test_good_ones_pass(codec: str) -> None:
    view = gate(written(ones(2.0), ones(3.0), codec=codec), SCHEMA, ones(), 100.0)
    assert kernels.payload_decode(view, 0) == pytest.approx(2.0, rel=1e-2)
    gate(written(ones(), codec=codec), SCHEMA, ones(), 100.0)


def test_another_schema() -> None:
    refused(written(ones(), schema=OTHER), "another model")


def test_another_size() -> None:
    refused(written(ones(n=N + 1), schema=LARGER))
    refused(written(ones(n=N - 1)), "another model")  # says our schema, and has another size


def test_three_vectors() -> None:
    refused(written(ones(), ones(), ones()), "3 vectors")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("vector", [0, 1])
def test_not_finite(value: float, codec: str, vector: int) -> None:
    vectors = [ones(), ones()]
    vectors[vector][N // 2] = value
    refused(written(*vectors, codec=codec))


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_scales_that_no_writer_makes(scale: float) -> None:
    data = bytearray(written(ones(), codec="i8"))
    (table,) = [at for at in range(128, len(data), 64) if at >= 128 + 8][:1]
    data[table : table + 4] = struct.pack("<f", scale)
    refused(memoryview(with_table(data, 1)))


def test_too_far() -> None:
    refused(written(ones(102.0)), "away from ours")
    gate(written(ones(100.0)), SCHEMA, ones(), 100.0)
    # Models may start from zero, and must be able to take in what the swarm has learnt.
    gate(written(ones(9.9)), SCHEMA, ones(0.0), 100.0)
    refused(written(ones(10.1)), "away from ours", params=ones(0.0))


def test_every_damaged_byte() -> None:
    data = bytearray(written(ones(), codec="i8"))
    for at in range(len(data)):
        data[at] ^= 0x10
        refused(memoryview(data))
        data[at] ^= 0x10
    gate(memoryview(data), SCHEMA, ones(), 100.0)


def test_truncated_and_extended() -> None:
    data = bytes(written(ones(), codec="i8"))
    for n in range(0, len(data), 7):
        refused(memoryview(data[:n]))
    refused(memoryview(data + b"\0"))


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(PayloadError):
        open_payload(memoryview(data), SCHEMA)


def test_reference_and_ours_are_one_format() -> None:
    vector = np.linspace(-1, 1, N, dtype=np.float32)
    theirs = reference_payload("i8", SCHEMA.digest, [vector])
    assert bytes(written(vector, codec="i8")) == theirs


def test_saved_params() -> None:
    good = bytes(written(ones(4.0)))
    assert saved_params(good, SCHEMA, "home").tolist() == [4.0] * N
    for schema in (OTHER, LARGER):
        with pytest.raises(SchemaError, match=r"^home holds params of other shapes.*--home"):
            saved_params(good, schema, "home")
    with pytest.raises(CheckpointError, match=r"^home: the saved params are damaged"):
        saved_params(good[:-1], SCHEMA, "home")


IN_A_CYCLE = """
import gc
import numpy as np
from learnae import kernels

data = memoryview(kernels.payload_write("f32", bytes(32), [np.ones(10, np.float32)]))
view = kernels.payload_open(data, 10)
cycle = [view]
cycle.append(cycle)
del data, view, cycle
gc.collect()
"""


@pytest.mark.parametrize("backend", ["c", "numba"])
def test_views_survive_the_garbage_collector(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CYCLE],
        env={**os.environ, "LEARNAE_KERNELS": backend},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
