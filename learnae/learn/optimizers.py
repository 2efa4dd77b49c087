"""Optimisers by the charter's name, and where compiled rounds are kept.

Imports JAX and optax only when called.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.errors import BackendError, CharterError

if TYPE_CHECKING:
    import optax

__all__ = ["OPTIMIZERS", "make_optimizer", "require_jax", "use_compilation_cache"]

OPTIMIZERS = ("adam", "adamw", "momentum", "sgd")


def require_jax() -> None:
    """Raise `BackendError` with the cure if JAX or optax is not installed."""
    for name in ("jax", "optax"):
        if importlib.util.find_spec(name) is None:
            raise BackendError(
                f"training needs {name}, which is not installed: pip install jax optax "
                "(a relay does without)"
            )


def make_optimizer(name: str, learning_rate: float) -> optax.GradientTransformation:
    """Return the optimiser that a charter names, with optax's defaults otherwise.

    `momentum` is SGD with heavy-ball momentum 0.9.

    Raises
    ------
    CharterError
        If there is none of this name, with the nearest; or the learning rate is not positive.
    """
    if name not in OPTIMIZERS:
        near = difflib.get_close_matches(name.lower(), OPTIMIZERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(OPTIMIZERS)}"
        raise CharterError(f"training.optimizer: {name!r} is not known; {hint}")
    if not 0 < learning_rate < float("inf"):
        raise CharterError(
            f"training.learning_rate is {learning_rate}; it must be above 0, such as 1e-3"
        )
    require_jax()
    import optax

    makers: dict[str, Callable[[], optax.GradientTransformation]] = {
        "adam": lambda: optax.adam(learning_rate),
        "adamw": lambda: optax.adamw(learning_rate),
        "momentum": lambda: optax.sgd(learning_rate, momentum=0.9),
        "sgd": lambda: optax.sgd(learning_rate),
    }
    return makers[name]()


def use_compilation_cache(folder: str | PathLike[str]) -> None:
    """Keep compiled functions in a folder, however small, for all processes on this machine.

    Six processes that import JAX and compile at once on 2 cores start in about half the time
    when they share it. Call this before the first compilation. A folder that cannot be used
    costs speed only: JAX warns and compiles.
    """
    require_jax()
    import jax

    config: Any = jax.config  # untyped in some versions of JAX
    Path(folder).mkdir(parents=True, exist_ok=True)
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config.update("jax_persistent_cache_min_entry_size_bytes", -1)
