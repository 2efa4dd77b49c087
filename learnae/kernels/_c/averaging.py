"""Instruction sets and averages of the compiled core."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from learnae._core import ffi, lib
from learnae.errors import BackendError
from learnae.kernels._c.call import call, floats, pointers
from learnae.kernels._seam import Float32

__all__ = ["average", "average_plan", "isa", "isas", "mix", "n_threads", "set_isa", "set_threads"]


def isa() -> str:
    return str(ffi.string(lib.learnae_isa()).decode())


def isas() -> tuple[str, ...]:
    return tuple(ffi.string(lib.learnae_isa_name(i)).decode() for i in range(lib.learnae_n_isas()))


def set_isa(name: str | None) -> None:
    if lib.learnae_set_isa(ffi.NULL if name is None else name.encode()):
        raise ValueError(f"no instruction set {name!r} here: one of {', '.join(isas())}")


def n_threads() -> int:
    return int(lib.learnae_n_threads())


def set_threads(n: int) -> None:
    if lib.learnae_set_threads(n):
        raise BackendError(f"the system does not give {n} threads; one is in use")


def average(dst: Float32, models: Sequence[Float32], weights: Float32) -> None:
    call(lib.learnae_average, floats(dst), pointers(models), floats(weights), len(models), dst.size)


def average_plan(
    dst: Sequence[Float32], models: Sequence[Sequence[Float32]]
) -> Callable[[Float32], None]:
    # Each pointer keeps its array alive, but only as long as something keeps the pointer.
    kept = [floats(array) for array in dst], [floats(array) for row in models for array in row]
    to, rows = ffi.new("float *[]", kept[0]), ffi.new("const float *[]", kept[1])
    lengths = ffi.new("size_t[]", [array.size for array in dst])
    counts = len(models), lengths, len(dst)

    def run(weights: Float32, _kept: object = kept) -> None:
        call(lib.learnae_average_leaves, to, rows, floats(weights), *counts)

    return run


def mix(params: Float32, mean: Float32, rate: float) -> None:
    call(lib.learnae_mix, floats(params), floats(mean), rate, params.size)
