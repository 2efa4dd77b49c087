"""Which backend does the work: the compiled core or its numba twin, chosen at the first use."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import cast

from learnae.errors import BackendError
from learnae.kernels._seam import Backend

__all__ = ["backend", "isa", "isas", "load", "n_threads", "set_isa", "set_threads"]

_CURES = {
    "c": "the compiled core is not installed; with a C compiler and Python's headers at hand, "
    "install learnae again",
    "numba": "numba is not installed: pip install numba",
}


_N_THREADS_MAX = 256

_loaded: Backend | None = None


def load() -> Backend:
    """Return the backend, chosen at the first call."""
    global _loaded
    if _loaded is None:
        wanted = os.environ.get("LEARNAE_KERNELS", "")
        if wanted not in ("", "c", "numba"):
            raise BackendError(f"LEARNAE_KERNELS={wanted!r}: set it to c or numba, or unset it")
        found = _import([wanted] if wanted else ["c", "numba"])
        found.set_threads(_threads_wanted())
        _loaded = found
    return _loaded


def _threads_wanted() -> int:
    wanted = os.environ.get("LEARNAE_THREADS", "") or "1"
    if not (wanted.isdecimal() and 1 <= int(wanted) <= _N_THREADS_MAX):
        message = f"LEARNAE_THREADS={wanted!r}: set it to 1 to {_N_THREADS_MAX}, or unset it"
        raise BackendError(message)
    return int(wanted)


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


def n_threads() -> int:
    """Return how many threads a large call uses."""
    return load().n_threads()


def set_threads(n: int) -> None:
    """Let calls that move more than a megabyte use `n` threads, the calling one included.

    Until this is called it is one, or what the environment variable ``LEARNAE_THREADS`` says. The
    bits of every result are the same for any number; a call never waits for a thread that the
    system has not run yet.

    Raises
    ------
    BackendError
        Where the system does not give as many; one is in use then.
    """
    if not 1 <= n <= _N_THREADS_MAX:
        raise ValueError(f"{n} threads asked for; 1 to {_N_THREADS_MAX} can be had")
    load().set_threads(n)
