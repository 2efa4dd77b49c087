"""The learning side: models, the local round, drift correction, and data.

Importing this package imports nothing else. The data modules (`tabular`, `csvtext`, `npzfile`,
`hepmass`, `magic`, `partition`, `batches`) need NumPy only; `rounds`, `drift`, `optimizers`,
`evaluation` and `baseline` need JAX and optax (``pip install jax optax``). The names
below are for one's own training loop and are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learnae.learn.drift import drift_correction, read_gradient, with_shift

__all__ = ["drift_correction", "read_gradient", "with_shift"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("learnae.learn.drift"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
