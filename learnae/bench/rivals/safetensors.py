"""safetensors: a file's bytes from arrays, and arrays from a file's bytes."""

from __future__ import annotations

from collections.abc import Callable

from learnae.bench.cases.entry import Inputs
from learnae.bench.rivals.entry import Rival

__all__ = ["SAFETENSORS"]


def _save(inputs: Inputs, codec: str) -> Callable[[], object]:
    from safetensors.numpy import save

    tensors = {"params": inputs.models[0]}
    return lambda: save(tensors)


def _save_leaves(inputs: Inputs, codec: str) -> Callable[[], object]:
    from safetensors.numpy import save

    tensors = {f"layer{i:02}": leaf for i, leaf in enumerate(inputs.leaves[0])}
    return lambda: save(tensors)


def _load(inputs: Inputs, codec: str) -> Callable[[], object]:
    from safetensors.numpy import load, save

    data = save({"params": inputs.models[0]})
    return lambda: load(data)


SAFETENSORS = (
    Rival("safetensors", "safetensors", "payload_write", _save),
    Rival("safetensors", "safetensors", "payload_write_leaves", _save_leaves),
    Rival("safetensors", "safetensors", "payload_decode", _load),
)
