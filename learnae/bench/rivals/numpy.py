"""NumPy, with all intermediate results in memory that is there already."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from learnae.bench.cases.entry import Inputs
from learnae.bench.cases.robust import n_trimmed
from learnae.bench.rivals.entry import GROUP, Rival, bf16_of, i8_of
from learnae.kernels import Float32

__all__ = ["NUMPY"]

# Writes one decoded model, times a weight, into the array it is given.
Decode = Callable[[Float32, float], object]


def _decoder(codec: str, model: Float32) -> Decode:
    """Encode `model` (rows of whole groups), and return what decodes it."""
    if codec == "f32":
        return lambda out, weight: np.multiply(model, np.float32(weight), out=out)
    if codec == "f16":
        halves = model.astype(np.float16)
        return lambda out, weight: np.multiply(halves, np.float32(weight), out=out)
    if codec == "bf16":
        bits = bf16_of(model)

        def decode(out: Float32, weight: float) -> None:
            np.left_shift(bits, 16, out=out.view(np.uint32), dtype=np.uint32)
            np.multiply(out, np.float32(weight), out=out)

        return decode
    codes, scales = i8_of(model)

    def decode_i8(out: Float32, weight: float) -> None:
        rows = out.reshape(-1, GROUP)
        np.multiply(codes, scales * np.float32(weight), out=rows)

    return decode_i8


def _whole_groups(vector: Float32) -> Float32:
    """Return it with a length that is a multiple of `GROUP`: itself, or a copy."""
    if vector.size % GROUP == 0:
        return vector
    return np.resize(vector, -(-vector.size // GROUP) * GROUP)


def _average(inputs: Inputs, codec: str) -> Callable[[], object]:
    acc, *others = (_whole_groups(model) for model in inputs.models)
    acc = acc.copy()
    decoders = [_decoder(codec, model) for model in others]
    own, *weights = inputs.weights
    spare = np.zeros_like(acc)

    def run() -> Float32:
        np.multiply(acc, own, out=acc)
        for decode, weight in zip(decoders, weights, strict=True):
            decode(spare, weight)
            np.add(acc, spare, out=acc)
        return acc

    return run


def _average_leaves(inputs: Inputs, codec: str) -> Callable[[], object]:
    acc, *others = inputs.leaves
    acc = [leaf.copy() for leaf in acc]
    own, *weights = inputs.weights
    spare = [np.zeros_like(leaf) for leaf in acc]

    def run() -> list[Float32]:
        for leaf in acc:
            np.multiply(leaf, own, out=leaf)
        for model, weight in zip(others, weights, strict=True):
            for leaf, other, scaled in zip(acc, model, spare, strict=True):
                np.multiply(other, weight, out=scaled)
                np.add(leaf, scaled, out=leaf)
        return acc

    return run


def _accumulate(inputs: Inputs, codec: str) -> Callable[[], object]:
    acc = _whole_groups(inputs.models[0]).copy()
    decode, spare = _decoder(codec, acc), np.zeros_like(acc)

    def run() -> None:
        decode(spare, 0.0)
        np.add(acc, spare, out=acc)

    return run


def _write(inputs: Inputs, codec: str) -> Callable[[], object]:
    vector = inputs.models[0]
    if codec in ("f32", "f16"):
        out = np.zeros(vector.size, np.float32 if codec == "f32" else np.float16)
        return lambda: np.copyto(out, vector, casting="same_kind")
    return lambda: bf16_of(vector) if codec == "bf16" else i8_of(vector)


def _write_leaves(inputs: Inputs, codec: str) -> Callable[[], object]:
    """Copy, and nothing else."""
    (leaves,), out = inputs.leaves[:1], np.zeros_like(inputs.models[0])
    places = np.split(out, np.cumsum([leaf.size for leaf in leaves])[:-1])

    def run() -> Float32:
        for place, leaf in zip(places, leaves, strict=True):
            np.copyto(place, leaf)
        return out

    return run


def _decode(inputs: Inputs, codec: str) -> Callable[[], object]:
    model = _whole_groups(inputs.models[0])
    decode, out = _decoder(codec, model), np.zeros_like(model)
    return lambda: decode(out, 1.0)


def _distance(inputs: Inputs, codec: str) -> Callable[[], object]:
    model = _whole_groups(inputs.models[0])
    decode, value, difference = _decoder(codec, model), np.zeros_like(model), np.zeros_like(model)

    def run() -> tuple[float, float]:
        decode(value, 1.0)
        np.subtract(value, model, out=difference)
        return float(np.dot(difference, difference)), float(np.dot(value, value))

    return run


def _median(inputs: Inputs, codec: str) -> Callable[[], object]:
    stack = inputs.stack
    return lambda: np.median(stack, axis=0)


def _trimmed_mean(inputs: Inputs, codec: str) -> Callable[[], object]:
    stack, low = inputs.stack, n_trimmed(inputs.k)
    high = inputs.k - low
    return lambda: np.partition(stack, (low, high - 1), axis=0)[low:high].mean(axis=0)


def _distances(inputs: Inputs, codec: str) -> Callable[[], object]:
    """By the Gram matrix, which is BLAS and loses the digits that close models share."""
    stack = inputs.stack

    def run() -> object:
        gram = stack @ stack.T
        norms = gram.diagonal()
        return norms[:, None] + norms - 2 * gram

    return run


_CODECS = ("f32", "bf16", "f16", "i8")

NUMPY = (
    Rival("numpy", "numpy", "average", _average),
    Rival("numpy", "numpy", "average_leaves", _average_leaves),
    Rival("numpy", "numpy", "payload_average", _average, _CODECS),
    Rival("numpy", "numpy", "payload_accumulate", _accumulate, _CODECS),
    Rival("numpy", "numpy", "payload_write", _write, _CODECS),
    Rival("numpy", "numpy", "payload_write_leaves", _write_leaves),
    Rival("numpy", "numpy", "payload_decode", _decode, _CODECS),
    Rival("numpy", "numpy", "payload_distance", _distance, _CODECS),
    Rival("numpy", "numpy", "median", _median),
    Rival("numpy", "numpy", "trimmed_mean", _trimmed_mean),
    Rival("numpy", "numpy", "distances", _distances),
)
