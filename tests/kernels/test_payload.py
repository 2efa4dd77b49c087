"""The payload against the oracle: bytes written, values read, sums added, on every row."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import ModuleType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from kernels import groups, reference
from kernels.groups import GROUPS
from kernels.reference import bits, canonical, floats

from learnae.errors import PayloadError

DIGEST = bytes(range(32))
CODECS = st.sampled_from(list(reference.CODECS))
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(st.integers(1, 600), st.sampled_from([16383, 16384, 16385, 33000]))
BLOCK_LENGTHS = st.sampled_from([256, 512, 1024, 16384, 1048576])
WEIGHTS = st.floats(-4, 4, width=32) | st.sampled_from([0.0, 1.0, float("inf")])


def blocks_of(codec: str, vector: np.ndarray, block_length: int) -> np.ndarray:
    """Encode and decode by the oracle."""
    return np.concatenate(
        [
            reference.decode_block(codec, reference.encode_block(codec, part), part.size)
            for part in np.split(vector, range(block_length, vector.size, block_length))
        ]
    )


def accumulated(codec: str, acc: np.ndarray, x: np.ndarray, weight: float) -> np.ndarray:
    """Return ``acc + weight * x``; codecs with scales round ``weight * scale`` once a group."""
    if codec in GROUPS:
        return groups.add_pass(codec, acc, [x], [weight])
    with np.errstate(all="ignore"):
        return canonical(acc + np.float32(weight) * x)


def drawn(codec: str, seed: int, n: int, n_vectors: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [floats(rng, n, finite=codec in GROUPS) for _ in range(n_vectors)]


@given(CODECS, SEEDS, SIZES, st.integers(1, 4))
def test_writes_the_specified_bytes(
    k: ModuleType, codec: str, seed: int, n: int, n_vectors: int
) -> None:
    vectors = drawn(codec, seed, n, n_vectors)
    expected = reference.payload(codec, DIGEST, vectors)
    assert k.payload_write(codec, DIGEST, vectors) == expected
    assert k.payload_nbytes(codec, n_vectors, n) == len(expected)


def test_writes_the_specified_bytes_of_a_large_payload(k: ModuleType) -> None:
    """It lies in huge pages where there are some, which nobody has filled with zeros."""
    vectors = drawn("f32", 7, 1_100_003)
    written = k.payload_write("f32", DIGEST, vectors)
    assert type(written) is bytearray
    assert written == reference.payload("f32", DIGEST, vectors)


@given(CODECS, SEEDS, SIZES, BLOCK_LENGTHS, st.integers(0, 70))
def test_reads_what_the_oracle_wrote_at_any_address(
    k: ModuleType, codec: str, seed: int, n: int, block_length: int, offset: int
) -> None:
    vectors = drawn(codec, seed, n, 2)
    data = reference.payload(codec, DIGEST, vectors, block_length)
    view = k.payload_open(memoryview(bytes(offset) + data)[offset:], n)
    k.payload_verify(view)
    n_blocks = 2 * -(-n // block_length)
    assert (view.codec, view.n_vectors, view.n_elements) == (codec, 2, n)
    assert (view.block_length, view.n_blocks, view.nbytes) == (block_length, n_blocks, len(data))
    assert view.schema_digest == DIGEST
    for v, vector in enumerate(vectors):
        expected = blocks_of(codec, vector, block_length)
        assert np.array_equal(bits(k.payload_decode(view, v)), bits(expected))


@given(CODECS, SEEDS, SIZES, BLOCK_LENGTHS, WEIGHTS, st.integers(0, 9))
def test_accumulates_with_the_specified_rounding(
    k: ModuleType, codec: str, seed: int, n: int, block_length: int, weight: float, offset: int
) -> None:
    (x,) = drawn(codec, seed, n)
    acc = floats(np.random.default_rng(seed + 1), n + offset)[offset:]
    decoded = x if codec in GROUPS else blocks_of(codec, x, block_length)
    expected = accumulated(codec, acc, decoded, weight)
    view = k.payload_open(reference.payload(codec, DIGEST, [x], block_length), n)
    k.payload_accumulate(view, 0, weight, acc)
    assert np.array_equal(bits(acc), bits(expected))


@given(SEEDS, SIZES, st.lists(st.tuples(CODECS, BLOCK_LENGTHS, WEIGHTS), max_size=9), WEIGHTS)
def test_averages_many_payloads_in_one_pass(
    k: ModuleType, seed: int, n: int, listed: list[tuple[str, int, float]], own_weight: float
) -> None:
    dst = floats(np.random.default_rng(seed), n)
    with np.errstate(all="ignore"):
        expected = canonical(np.float32(own_weight) * dst)
    views = []
    models = [drawn(codec, seed + i, n)[0] for i, (codec, *_) in enumerate(listed)]
    for x, (codec, block_length, _) in zip(models, listed, strict=True):
        views.append(k.payload_open(reference.payload(codec, DIGEST, [x], block_length), n))
    done = 0
    while done < len(listed):
        codec, block_length, weight = listed[done]
        run = 1
        if codec in GROUPS:
            same = [other == codec for other, *_ in listed[done:]] + [False]
            run = groups.pass_length(same.index(False))
            weights = [weight for *_, weight in listed[done : done + run]]
            expected = groups.add_pass(codec, expected, models[done : done + run], weights)
        else:
            decoded = blocks_of(codec, models[done], block_length)
            expected = accumulated(codec, expected, decoded, weight)
        done += run
    k.payload_average(dst, own_weight, views, [weight for *_, weight in listed], 0)
    assert np.array_equal(bits(dst), bits(expected))


@given(
    st.sampled_from(list(GROUPS)),
    SEEDS,
    SIZES,
    BLOCK_LENGTHS,
    st.lists(st.one_of(st.floats(-1, 1, width=32), WEIGHTS), min_size=1, max_size=18),
)
def test_adds_groups_in_passes_of_up_to_eight(
    k: ModuleType, codec: str, seed: int, n: int, block_length: int, weights: list[float]
) -> None:
    dst = floats(np.random.default_rng(seed), n)
    models = [drawn(codec, seed + i, n)[0] for i in range(len(weights))]
    views = [k.payload_open(reference.payload(codec, DIGEST, [x], block_length), n) for x in models]
    expected = canonical(dst.copy())
    done = 0
    while done < len(weights):
        end = done + groups.pass_length(len(weights) - done)
        expected = groups.add_pass(codec, expected, models[done:end], weights[done:end])
        done = end
    k.payload_average(dst, 1.0, views, weights, 0)
    assert np.array_equal(bits(dst), bits(expected))


@pytest.mark.parametrize("codec", groups.INTEGERS)
@pytest.mark.parametrize("n_models", [1, 2, 5, 8])
def test_integers_add_little_to_the_error(k: ModuleType, codec: str, n_models: int) -> None:
    rng = np.random.default_rng(5)
    models = rng.standard_normal((n_models, 50_000)).astype(np.float32)
    weights = rng.uniform(0.1, 1, n_models).astype(np.float32)
    views = [k.payload_open(k.payload_write(codec, DIGEST, [x]), x.size) for x in models]
    exact = weights.astype(np.float64) @ [k.payload_decode(view, 0) for view in views]
    mean = np.zeros(models.shape[1], np.float32)
    k.payload_average(mean, 0.0, views, weights, 0)
    assert np.linalg.norm(mean - exact) / np.linalg.norm(exact) < 2.0**-14


@given(CODECS, SEEDS, SIZES, BLOCK_LENGTHS, st.booleans())
def test_distance_adds_in_eight_lanes(
    k: ModuleType, codec: str, seed: int, n: int, block_length: int, against_zeros: bool
) -> None:
    (x,) = drawn("i8", seed, n)  # finite
    reference_vector = floats(np.random.default_rng(seed + 1), n, finite=True)
    view = k.payload_open(reference.payload(codec, DIGEST, [x], block_length), n)
    value = blocks_of(codec, x, block_length)
    given_reference = None if against_zeros else reference_vector
    if not np.isfinite(value).all():  # rounded up to infinity
        with pytest.raises(PayloadError, match="infinity at element"):
            k.payload_distance(view, 0, given_reference)
        return
    expected = []
    with np.errstate(all="ignore"):
        far = value if against_zeros else value - reference_vector
        squares = (far * far, value * value)
    for terms in squares:
        lanes = [0.0] * 8
        for run in np.split(terms, range(256, n, 256)):
            for lane in range(8):
                total32 = np.float32(0)
                for term in run[lane::8]:
                    with np.errstate(all="ignore"):
                        total32 += term
                lanes[lane] += float(total32)
        total = lanes[0]
        for lane in lanes[1:]:
            total += lane
        expected.append(total)
    assert k.payload_distance(view, 0, given_reference) == tuple(expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("where", [0, 17, 16383, 16384, 19999])
def test_distance_is_the_gate_for_nonfinite(
    k: ModuleType, codec: str, bad: float, where: int
) -> None:
    x = np.ones((2, 20000), np.float32)
    x[1, where] = bad
    view = k.payload_open(k.payload_write(codec, DIGEST, list(x)), 20000)
    assert k.payload_distance(view, 0, None) == (20000.0, 20000.0)
    with pytest.raises(PayloadError, match=f"at element {where} of vector 1"):
        k.payload_distance(view, 1, None)


def test_distance_to_a_reference_with_nan_is_nan(k: ModuleType) -> None:
    view = k.payload_open(k.payload_write("f32", DIGEST, [np.ones(9, np.float32)]), 9)
    far, norm = k.payload_distance(view, 0, np.full(9, np.nan, np.float32))
    assert np.isnan(far) and norm == 9.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("codec", list(GROUPS))
@pytest.mark.parametrize("where", [0, 255, 300, 16384, 19999])
def test_scales_cannot_carry_nonfinite_which_is_named(
    k: ModuleType, codec: str, bad: float, where: int
) -> None:
    x = np.ones((2, 20000), np.float32)
    x[1, where] = bad
    with pytest.raises(ValueError, match=rf"element {where}\b") as error:
        k.payload_write(codec, DIGEST, list(x))
    assert "vector 1" in str(error.value) and f"codec {codec} " in str(error.value)
    assert ("NaN" if np.isnan(bad) else "infinity") in str(error.value)


@pytest.mark.parametrize(
    ("codec", "expected"), [("i8", 0.0069), ("i4", 0.0900), ("sign", 0.602), ("ternary", 0.438)]
)
def test_error_on_normal_numbers(k: ModuleType, codec: str, expected: float) -> None:
    x = np.random.default_rng(4).standard_normal(100_000).astype(np.float32)
    view = k.payload_open(k.payload_write(codec, DIGEST, [x]), x.size)
    error = np.linalg.norm(k.payload_decode(view, 0) - x) / np.linalg.norm(x)
    assert error == pytest.approx(expected, rel=0.015)


def test_a_view_borrows_a_memory_map(k: ModuleType, tmp_path: Path) -> None:
    x = np.arange(1000, dtype=np.float32)
    path = tmp_path / "payload"
    path.write_bytes(k.payload_write("f32", DIGEST, [x]))
    with path.open("rb") as file:
        view = k.payload_open(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), 1000)
    k.payload_verify(view)
    assert np.array_equal(k.payload_decode(view, 0), x)


def test_decode_into_a_given_array(k: ModuleType) -> None:
    x = np.arange(5, dtype=np.float32)
    view = k.payload_open(k.payload_write("f32", DIGEST, [x]), 5)
    out = np.empty(5, np.float32)
    assert k.payload_decode(view, 0, out) is out
    assert np.array_equal(out, x)


def test_mistakes_of_the_caller_are_value_errors(k: ModuleType) -> None:
    x = np.ones(5, np.float32)
    view = k.payload_open(k.payload_write("f32", DIGEST, [x]), 5)
    mistakes = [
        (lambda: k.payload_decode(view, 1), "no vector 1"),
        (lambda: k.payload_decode(view, 0, np.empty(4, np.float32)), "out has 4 elements"),
        (lambda: k.payload_accumulate(view, 0, 1.0, np.empty(6, np.float32)), "acc has 6"),
        (lambda: k.payload_average(x, 1.0, [view], [], 0), "1 weights expected"),
        (lambda: k.payload_average(np.ones(4, np.float32), 1, [view], [1], 0), "dst has 4"),
        (lambda: k.payload_distance(view, -1, None), "no vector -1"),
        (lambda: k.payload_distance(view, 0, np.ones(4, np.float32)), "reference has 4"),
        (lambda: k.payload_write("zip", DIGEST, [x]), "no codec 'zip': one of f32, bf16"),
        (lambda: k.payload_write("f32", b"short", [x]), "32 bytes, not 5"),
        (lambda: k.payload_write("f32", DIGEST, []), "1 to 4 vectors, not 0"),
        (lambda: k.payload_write("f32", DIGEST, [x, x[:4].copy()]), r"vectors\[1\] has 4"),
        (lambda: k.payload_write("f32", DIGEST, [x[:0]]), "at least one element"),
        (lambda: k.payload_nbytes("f32", 5, 1), "1 to 4 vectors, not 5"),
        (lambda: k.payload_nbytes("f32", 1, 0), "cannot hold 0 elements"),
        (lambda: k.payload_nbytes("f32", 4, 2**55), "too many"),
        (lambda: k.payload_nbytes("f32", 1, 2**64), "cannot hold"),
        (lambda: k.payload_open(b"", 0), "max_elements"),
        (lambda: k.payload_open(memoryview(bytes(400))[::2], 9), "contiguous"),
        (lambda: k.crc32c(b"", -1), "crc must be"),
    ]
    for call, message in mistakes:
        with pytest.raises(ValueError, match=message):
            call()
