"""The safetensors format, written: little enough not to need its package.

::

    8 bytes   N, little-endian
    N bytes   JSON: {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets"}}
    the rest  the tensors, C order, little-endian, without gaps, in the order of their offsets
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode_safetensors"]

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
# Readers map the file and look at the data in place: it begins at a multiple of 8.
ALIGNMENT = 8


def encode_safetensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file with these tensors, in this order.

    Parameters
    ----------
    tensors
        Arrays of a floating dtype (`DTYPES`), by name.
    metadata
        Text about the model, by name.

    Raises
    ------
    ValueError
        For another dtype.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    offset = 0
    for name, tensor in tensors.items():
        if tensor.dtype.name not in DTYPES:
            raise ValueError(f"{name} has dtype {tensor.dtype}, which cannot be exported")
        data = np.ascontiguousarray(tensor).astype(tensor.dtype.newbyteorder("<")).tobytes()
        header[name] = {
            "dtype": DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        parts.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
