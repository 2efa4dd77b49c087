"""torch on the CPU, in place, with as many threads as the row says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from learnae.bench.cases.entry import Inputs
from learnae.bench.cases.robust import n_trimmed
from learnae.bench.rivals.entry import GROUP, Rival, bf16_of, i8_of

__all__ = ["TORCH"]

_CHUNK_ROWS = 1024


def _set_threads(n: int) -> None:
    import torch

    torch.set_num_threads(n)


def _average(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    acc, *others = map(torch.from_numpy, inputs.models)
    acc = acc.clone()
    own, *weights = map(float, inputs.weights)

    def run() -> Any:
        acc.mul_(own)
        for other, weight in zip(others, weights, strict=True):
            acc.add_(other, alpha=weight)
        return acc

    return run


def _average_leaves(inputs: Inputs, codec: str) -> Callable[[], object]:
    """As its optimisers do with many tensors: all leaves in one call."""
    import torch

    acc, *others = ([torch.from_numpy(leaf) for leaf in leaves] for leaves in inputs.leaves)
    acc = [leaf.clone() for leaf in acc]
    own, *weights = map(float, inputs.weights)

    def run() -> Any:
        torch._foreach_mul_(acc, own)
        for other, weight in zip(others, weights, strict=True):
            torch._foreach_add_(acc, other, alpha=weight)
        return acc

    return run


def _half_average(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    acc = torch.from_numpy(inputs.models[0]).clone()
    own, *weights = map(float, inputs.weights)
    if codec == "bf16":
        bits = [bf16_of(model).view(np.int16) for model in inputs.models[1:]]
        halves = [torch.from_numpy(half).view(torch.bfloat16) for half in bits]
    else:
        halves = [torch.from_numpy(model.astype(np.float16)) for model in inputs.models[1:]]

    def run() -> Any:
        acc.mul_(own)
        for half, weight in zip(halves, weights, strict=True):
            acc.add_(half, alpha=weight)
        return acc

    return run


def _i8_average(inputs: Inputs, codec: str) -> Callable[[], object]:
    """Decode chunk by chunk into one float chunk that stays in the cache."""
    import torch

    own, *weights = map(float, inputs.weights)
    encoded = [tuple(map(torch.from_numpy, i8_of(model))) for model in inputs.models[1:]]
    n_rows = encoded[0][0].shape[0]
    acc = torch.from_numpy(np.resize(inputs.models[0], (n_rows, GROUP)))
    spare = torch.zeros((_CHUNK_ROWS, GROUP))

    def add(part: Any, codes: Any, scales: Any, weight: float) -> None:
        value = spare[: len(part)]
        value.copy_(codes)
        value.mul_(scales)
        part.add_(value, alpha=weight)

    def run() -> Any:
        for start in range(0, n_rows, _CHUNK_ROWS):
            chunk = slice(start, start + _CHUNK_ROWS)
            acc[chunk].mul_(own)
            for (codes, scales), weight in zip(encoded, weights, strict=True):
                add(acc[chunk], codes[chunk], scales[chunk], weight)
        return acc

    return run


def _median(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    stack = torch.from_numpy(np.stack(inputs.models))
    return lambda: torch.median(stack, dim=0).values


def _trimmed_mean(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    stack, low = torch.from_numpy(np.stack(inputs.models)), n_trimmed(inputs.k)
    return lambda: torch.sort(stack, dim=0).values[low : inputs.k - low].mean(dim=0)


def _distances(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    stack = torch.from_numpy(np.stack(inputs.models))
    return lambda: torch.cdist(stack, stack).square_()


def _half_write(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    vector = torch.from_numpy(inputs.models[0])
    dtype = torch.bfloat16 if codec == "bf16" else torch.float16
    return lambda: vector.to(dtype)


def _rival(
    kernel: str, prepare: Callable[[Inputs, str], Callable[[], object]], *codecs: str
) -> Rival:
    return Rival("torch", "torch", kernel, prepare, codecs, set_threads=_set_threads)


TORCH = (
    _rival("average", _average, "f32"),
    _rival("average_leaves", _average_leaves, "f32"),
    _rival("payload_average", _average, "f32"),
    _rival("payload_average", _half_average, "bf16", "f16"),
    _rival("payload_average", _i8_average, "i8"),
    _rival("median", _median, "f32"),
    _rival("trimmed_mean", _trimmed_mean, "f32"),
    _rival("distances", _distances, "f32"),
    _rival("payload_write", _half_write, "bf16", "f16"),
)
