"""Averaging, mixing and CRC against NumPy: the same bits, on every row."""

from __future__ import annotations

from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels.reference import average, bits, crc32c, floats, mix

SIZES = st.one_of(st.integers(0, 80), st.integers(0, 3000), st.sampled_from([16383, 16384, 40001]))
WEIGHTS = st.floats(-4, 4, width=32) | st.sampled_from(
    [0.0, 1.0, float("inf"), float("nan"), 1e300]
)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=SIZES,
    offsets=st.lists(st.integers(0, 9), min_size=1, max_size=11),
    data=st.data(),
)
def test_average_has_numpys_bits(
    k: ModuleType, seed: int, n: int, offsets: list[int], data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    models = [floats(rng, n + offset)[offset:] for offset in offsets]
    weights = [data.draw(WEIGHTS) for _ in models]
    with np.errstate(over="ignore"):
        expected = average(models, weights)
    # In place, with the place anywhere in the list, or into an array of its own.
    place = data.draw(st.integers(0, len(models)))
    dst = models[place] if place < len(models) else np.empty(n, np.float32)
    k.average(dst, models, weights)
    assert np.array_equal(bits(dst), bits(expected))


@given(
    seed=st.integers(0, 2**32 - 1),
    n=SIZES,
    rate=st.floats(0, 1, width=32),
    offset=st.integers(0, 9),
)
def test_mix_has_numpys_bits(k: ModuleType, seed: int, n: int, rate: float, offset: int) -> None:
    rng = np.random.default_rng(seed)
    params, mean = floats(rng, n + offset)[offset:], floats(rng, n)
    expected = mix(params, mean, rate)
    k.mix(params, mean, rate)
    assert np.array_equal(bits(params), bits(expected))


@given(
    head=st.binary(max_size=100),
    tail=st.binary(max_size=3000),
    offset=st.integers(0, 16),
    crc=st.integers(0, 2**32 - 1),
)
def test_crc32c(k: ModuleType, head: bytes, tail: bytes, offset: int, crc: int) -> None:
    expected = crc32c(head + tail, crc)
    assert k.crc32c(memoryview(bytes(offset) + head + tail)[offset:], crc) == expected
    assert k.crc32c(tail, k.crc32c(bytearray(head), crc)) == expected


def test_crc32c_known_answers(k: ModuleType) -> None:
    # RFC 3720, appendix B.4
    assert k.crc32c(b"123456789") == 0xE3069283
    assert k.crc32c(bytes(32)) == 0x8A9136AA
    assert k.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert k.crc32c(bytes(range(32))) == 0x46DD794E
    assert k.crc32c(b"") == 0


F32 = np.zeros(4, np.float32)
FROZEN = np.zeros(4, np.float32)
FROZEN.flags.writeable = False
UNALIGNED = np.frombuffer(bytearray(17), np.uint8)[1:].view(np.float32)


@pytest.mark.parametrize(
    ("dst", "models", "weights", "message"),
    [
        (F32, [], [], "at least one model"),
        (F32, [F32], [1.0, 2.0], "1 weights expected"),
        (F32, [np.zeros(4)], [1.0], r"models\[0\] must be .* float32 array, not float64"),
        (F32, [np.zeros(5, np.float32)], [1.0], r"models\[0\] has 5 elements, expected 4"),
        (F32, [F32.reshape(2, 2)], [1.0], r"shape \(2, 2\)"),
        (F32, [np.zeros(8, np.float32)[::2]], [1.0], "must be contiguous"),
        (F32, [np.zeros(4, ">f4")], [1.0], "not >f4"),
        (F32, [UNALIGNED], [1.0], "aligned"),
        (F32, [[0.0] * 4], [1.0], "not list"),
        (FROZEN, [F32], [1.0], "dst is read-only"),
    ],
)
def test_wrong_arrays_are_named(
    k: ModuleType, dst: object, models: list[object], weights: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        k.average(dst, models, weights)


def test_partial_overlap_is_refused(k: ModuleType) -> None:
    memory = np.zeros(9, np.float32)
    with pytest.raises(ValueError, match=r"models\[1\] overlaps"):
        k.average(memory[:8], [memory[:8], memory[1:]], [0.5, 0.5])
    with pytest.raises(ValueError, match="mean overlaps"):
        k.mix(memory[:8], memory[1:], 0.5)


def test_inputs_may_be_read_only(k: ModuleType) -> None:
    dst = np.ones(4, np.float32)
    k.average(dst, [dst, FROZEN], [0.5, 0.5])
    k.mix(dst, FROZEN, 0.5)
    assert dst.tolist() == [0.25] * 4


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_rate_outside_its_range(k: ModuleType, rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        k.mix(F32.copy(), F32, rate)


def test_unknown_isa_names_the_known(k: ModuleType) -> None:
    before = k.isa()
    with pytest.raises(ValueError, match=k.isas()[-1]):
        k.set_isa("sse9")
    assert k.isa() == before


def test_threads_change_no_bit(k: ModuleType) -> None:
    """Enough elements that a call is shared out."""
    rng = np.random.default_rng(6)
    models = [rng.normal(size=300_001).astype(np.float32) for _ in range(6)]
    weights = rng.normal(size=6).astype(np.float32)
    results = []
    try:
        for n in (1, 2, 5):
            k.set_threads(n)
            assert k.n_threads() == n
            results.append(np.empty_like(models[0]))
            k.average(results[-1], models, weights)
    finally:
        k.set_threads(1)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


@pytest.mark.parametrize("n", [-1, 0, 257])
def test_a_number_of_threads_that_cannot_be_had(k: ModuleType, n: int) -> None:
    with pytest.raises(ValueError, match="threads asked for"):
        k.set_threads(n)
    assert k.n_threads() == 1
