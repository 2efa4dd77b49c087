"""From Python's arrays to pointers, and from status to exception."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from learnae._core import ffi
from learnae.kernels._seam import Float32, check

__all__ = ["call", "floats", "pointers"]


def call(function: Any, *arguments: Any, ours: bool = False) -> None:
    message = ffi.new("learnae_message *")
    status = function(*arguments, message)
    if status:
        check(status, ffi.string(message.text).decode("ascii", "replace"), ours=ours)


def floats(array: Float32) -> Any:
    return ffi.from_buffer("float[]", array)


def pointers(arrays: Sequence[Float32]) -> Any:
    return ffi.new("const float *[]", [floats(array) for array in arrays])
