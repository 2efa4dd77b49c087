"""How loops are compiled, and how arrays come to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from learnae.kernels._seam import Buffer

__all__ = ["NAN", "add_square", "bytes_of", "jit", "read_only"]

NAN = np.float32(np.nan)  # bits 0x7fc00000
_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """Compile at the first call, keep the machine code on disk, and release the GIL."""
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
    return cast(_Function, compiled(function))


def _add_square(context: Any, total: Any, a: Any) -> Any:
    """Return total + a * a in float64, rounded once: fma(a, a, total)."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        total, a = values
        return builder.fma(a, a, total)

    return types.float64(types.float64, types.float64), generate


add_square = cast(Callable[[float, float], float], intrinsic(_add_square))


def bytes_of(data: Buffer) -> NDArray[np.uint8]:
    """See a buffer as read-only bytes: one type, so that each loop is compiled once."""
    array = np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)
    array.flags.writeable = False
    return array


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
