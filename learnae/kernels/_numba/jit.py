"""How loops are compiled, and how arrays come to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from learnae.kernels._seam import Buffer

__all__ = ["NAN", "bytes_of", "jit", "read_only"]

NAN = np.float32(np.nan)  # bits 0x7fc00000
_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """Compile at the first call, keep the machine code on disk, and release the GIL."""
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
    return cast(_Function, compiled(function))


def bytes_of(data: Buffer) -> NDArray[np.uint8]:
    """See a buffer as read-only bytes: one type, so that each loop is compiled once."""
    array = np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    array.flags.writeable = False
    return array


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
