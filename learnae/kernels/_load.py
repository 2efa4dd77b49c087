"""Which backend does the work: the compiled core or its numba twin, chosen at the first use."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import cast

from learnae.errors import BackendError
from learnae.kernels._seam import Backend

__all__ = ["backend", "isa", "isas", "load", "set_isa"]

_CURES = {
    "c": "the compiled core is not installed; with a C compiler and Python's headers at hand, "
    "install learnae again",
    "numba": "numba is not installed: pip install numba",
}


_loaded: Backend | None = None


def load() -> Backend:
    """Return the backend, chosen at the first call."""
    global _loaded
    if _loaded is None:
        wanted = os.environ.get("LEARNAE_KERNELS", "")
        if wanted not in ("", "c", "numba"):
            raise BackendError(f"LEARNAE_KERNELS={wanted!r}: set it to c or numba, or unset it")
        _loaded = _import([wanted] if wanted else ["c", "numba"])
    return _loaded


def _import(names: Sequence[str]) -> Backend:
    problems = []
    for name in names:
        try:
            return cast(Backend, importlib.import_module(f"learnae.kernels._{name}"))
        except ImportError as error:
            problems.append(f"{_CURES[name]} ({error})")
    raise BackendError("; or ".join(problems))


def backend() -> str:
    """Return the backend in use: ``"c"`` or ``"numba"``.

    Raises
    ------
    BackendError
        Where none can be imported, or ``LEARNAE_KERNELS`` names none.
    """
    return load().__name__.rpartition("._")[2]  # type: ignore[attr-defined,no-any-return]


def isa() -> str:
    """Return the name of the instruction set in use, such as ``"avx2"``."""
    return load().isa()


def isas() -> tuple[str, ...]:
    """Return the instruction sets that this machine can run, best first."""
    return load().isas()


def set_isa(name: str | None) -> None:
    """Use the named instruction set from now on; the best one where `name` is None."""
    load().set_isa(name)
