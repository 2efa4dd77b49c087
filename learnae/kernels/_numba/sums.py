"""Loops over whole models."""

from __future__ import annotations

from typing import Any

from learnae.kernels._numba.jit import NAN, jit

__all__ = ["add_scaled", "mix", "scale"]


@jit
def scale(dst: Any, src: Any, weight: Any) -> None:
    """Set ``dst = weight * src``."""
    for i in range(dst.size):
        value = weight * src[i]
        dst[i] = value if value == value else NAN


@jit
def add_scaled(dst: Any, src: Any, weight: Any) -> None:
    """Set ``dst = dst + weight * src``."""
    for i in range(dst.size):
        value = dst[i] + weight * src[i]
        dst[i] = value if value == value else NAN


@jit
def mix(params: Any, mean: Any, keep: Any, rate: Any) -> None:
    """Set ``params = keep * params + rate * mean``."""
    for i in range(params.size):
        value = keep * params[i] + rate * mean[i]
        params[i] = value if value == value else NAN
