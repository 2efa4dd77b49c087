"""Sums over several models at once: each pass over the sum costs as much as a model does.

Numba compiles a loop well only where its arrays are separate arguments, and LLVM makes vectors of
it only where the array that is written is none of the others: hence one function for each number
of models, all of them in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learnae.kernels._numba.jit import NAN, jit

__all__ = ["SUMS"]


@jit
def _sum_0(total: Any, weight: Any) -> None:
    for i in range(total.size):
        value = weight * total[i]
        total[i] = value if value == value else NAN


@jit
def _sum_1(total: Any, weight: Any, s0: Any, w0: Any) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        total[i] = value if value == value else NAN


@jit
def _sum_2(total: Any, weight: Any, s0: Any, s1: Any, w0: Any, w1: Any) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        value += w1 * s1[i]
        total[i] = value if value == value else NAN


@jit
def _sum_3(total: Any, weight: Any, s0: Any, s1: Any, s2: Any, w0: Any, w1: Any, w2: Any) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        value += w1 * s1[i]
        value += w2 * s2[i]
        total[i] = value if value == value else NAN


@jit
def _sum_4(
    total: Any, weight: Any, s0: Any, s1: Any, s2: Any, s3: Any, w0: Any, w1: Any, w2: Any, w3: Any
) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        value += w1 * s1[i]
        value += w2 * s2[i]
        value += w3 * s3[i]
        total[i] = value if value == value else NAN


@jit
def _sum_5(
    total: Any,
    weight: Any,
    s0: Any,
    s1: Any,
    s2: Any,
    s3: Any,
    s4: Any,
    w0: Any,
    w1: Any,
    w2: Any,
    w3: Any,
    w4: Any,
) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        value += w1 * s1[i]
        value += w2 * s2[i]
        value += w3 * s3[i]
        value += w4 * s4[i]
        total[i] = value if value == value else NAN


@jit
def _sum_6(
    total: Any,
    weight: Any,
    s0: Any,
    s1: Any,
    s2: Any,
    s3: Any,
    s4: Any,
    s5: Any,
    w0: Any,
    w1: Any,
    w2: Any,
    w3: Any,
    w4: Any,
    w5: Any,
) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        value += w1 * s1[i]
        value += w2 * s2[i]
        value += w3 * s3[i]
        value += w4 * s4[i]
        value += w5 * s5[i]
        total[i] = value if value == value else NAN


@jit
def _sum_7(
    total: Any,
    weight: Any,
    s0: Any,
    s1: Any,
    s2: Any,
    s3: Any,
    s4: Any,
    s5: Any,
    s6: Any,
    w0: Any,
    w1: Any,
    w2: Any,
    w3: Any,
    w4: Any,
    w5: Any,
    w6: Any,
) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        value += w1 * s1[i]
        value += w2 * s2[i]
        value += w3 * s3[i]
        value += w4 * s4[i]
        value += w5 * s5[i]
        value += w6 * s6[i]
        total[i] = value if value == value else NAN


@jit
def _sum_8(
    total: Any,
    weight: Any,
    s0: Any,
    s1: Any,
    s2: Any,
    s3: Any,
    s4: Any,
    s5: Any,
    s6: Any,
    s7: Any,
    w0: Any,
    w1: Any,
    w2: Any,
    w3: Any,
    w4: Any,
    w5: Any,
    w6: Any,
    w7: Any,
) -> None:
    for i in range(total.size):
        value = weight * total[i]
        value += w0 * s0[i]
        value += w1 * s1[i]
        value += w2 * s2[i]
        value += w3 * s3[i]
        value += w4 * s4[i]
        value += w5 * s5[i]
        value += w6 * s6[i]
        value += w7 * s7[i]
        total[i] = value if value == value else NAN


# By the number of models added: ``total = weight * total + w0 * s0 + ...``, in this order.
SUMS: tuple[Callable[..., None], ...] = (
    _sum_0,
    _sum_1,
    _sum_2,
    _sum_3,
    _sum_4,
    _sum_5,
    _sum_6,
    _sum_7,
    _sum_8,
)
