"""The safetensors writer, read by the package that defined the format."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from require import need

from learnae.cli.safetensors import encode_safetensors

try:
    import safetensors.numpy
except ImportError:
    safetensors = None

TENSORS = {
    "['dense']['w']": np.arange(6, dtype=np.float32).reshape(2, 3),
    "['dense']['b']": np.array([1.5, -2.5], np.float16),
    "scalar": np.array(3.25, np.float64),
    "empty": np.zeros((0, 4), np.float32),
    "fortran ünïcode": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big endian": np.array([1.0, 2.0], ">f4"),
}
METADATA = {"format": "learnae", "round": "250"}


def test_the_package_reads_what_is_written() -> None:
    need(safetensors is not None, "safetensors is not installed")
    read = safetensors.numpy.load(encode_safetensors(TENSORS, METADATA))
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].shape == tensor.shape
        assert read[name].dtype == tensor.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read[name], tensor)


def test_metadata_and_layout() -> None:
    data = encode_safetensors(TENSORS, METADATA)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert header.pop("__metadata__") == METADATA
    assert list(header) == list(TENSORS)
    assert (8 + length) % 8 == 0
    ends = [entry["data_offsets"] for entry in header.values()]
    assert ends[0][0] == 0 and ends[-1][1] == len(data) - 8 - length
    assert all(one[1] == two[0] for one, two in itertools.pairwise(ends))


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="complex64"):
        encode_safetensors({"z": np.zeros(2, np.complex64)}, {})
