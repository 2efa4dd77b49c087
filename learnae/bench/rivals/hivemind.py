"""hivemind's codecs, and the arithmetic of its all-reduce on parts of its default size.

Its event loop and futures are left out, to its advantage.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from learnae.bench.cases.entry import Inputs
from learnae.bench.rivals.entry import Rival

__all__ = ["HIVEMIND"]

_PART_LENGTH = 2**19 // 4  # DEFAULT_PART_SIZE_BYTES of its averager, in floats


def _set_threads(n: int) -> None:
    import torch

    torch.set_num_threads(n)


def _average(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    models = [torch.from_numpy(model).split(_PART_LENGTH) for model in inputs.models]
    weights = [float(weight) for weight in inputs.weights]
    total = sum(weights)

    def run() -> list[Any]:
        averaged = []
        for parts in zip(*models, strict=True):
            accumulator = torch.zeros(parts[0].shape)
            for part, weight in zip(parts, weights, strict=True):
                accumulator.add_(part, alpha=weight)
            averaged.append(accumulator.div_(total))
        return averaged

    return run


def _codec(codec: str) -> Any:
    from hivemind.compression import floating, quantization

    if codec == "f16":
        return floating.Float16Compression()
    # 1.1.12 calls int() on an array with one element, which NumPy 2.4 refuses.
    quantization.int = lambda x: builtins.int(x.item() if isinstance(x, np.ndarray) else x)
    return quantization.Uniform8BitQuantization()


def _compress(codec: Any, parts: Any) -> list[Any]:
    from hivemind.compression import CompressionInfo

    return [codec.compress(part, CompressionInfo.from_tensor(part)) for part in parts]


def _payload_average(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    coder = _codec(codec)
    own, *weights = (float(weight) for weight in inputs.weights)
    acc = torch.from_numpy(inputs.models[0]).clone().split(_PART_LENGTH)
    sent = [
        _compress(coder, torch.from_numpy(model).split(_PART_LENGTH)) for model in inputs.models[1:]
    ]

    def run() -> Any:
        for i, part in enumerate(acc):
            part.mul_(own)
            for messages, weight in zip(sent, weights, strict=True):
                part.add_(coder.extract(messages[i]), alpha=weight)
        return acc

    return run


def _payload_write(inputs: Inputs, codec: str) -> Callable[[], object]:
    import torch

    coder = _codec(codec)
    parts = torch.from_numpy(inputs.models[0]).split(_PART_LENGTH)
    return lambda: _compress(coder, parts)


def _rival(
    kernel: str, prepare: Callable[[Inputs, str], Callable[[], object]], *codecs: str
) -> Rival:
    return Rival("hivemind", "hivemind", kernel, prepare, codecs, set_threads=_set_threads)


HIVEMIND = (
    _rival("average", _average, "f32"),
    _rival("payload_average", _payload_average, "i8", "f16"),
    _rival("payload_write", _payload_write, "i8", "f16"),
)
