"""The same work done by others: one module per library, all of them optional.

Each does its work as its own users would, with what can be prepared prepared outside of the
measured call; where there is a choice, the faster way was taken.
"""

from __future__ import annotations

from importlib.util import find_spec

from learnae.bench.rivals.entry import Rival
from learnae.bench.rivals.flower import FLOWER
from learnae.bench.rivals.hivemind import HIVEMIND
from learnae.bench.rivals.jax import JAX
from learnae.bench.rivals.lossless import LOSSLESS
from learnae.bench.rivals.numpy import NUMPY
from learnae.bench.rivals.safetensors import SAFETENSORS
from learnae.bench.rivals.torch import TORCH

__all__ = ["ALWAYS", "Rival", "installed", "missing", "rivals_of"]

# What every installation of learnae has beside it.
ALWAYS: tuple[Rival, ...] = NUMPY
_OPTIONAL: tuple[Rival, ...] = (*JAX, *TORCH, *FLOWER, *HIVEMIND, *SAFETENSORS, *LOSSLESS)


def installed() -> tuple[Rival, ...]:
    """Return every rival that can be imported here."""
    return ALWAYS + tuple(rival for rival in _OPTIONAL if find_spec(rival.module))


def missing() -> list[str]:
    """Return the names of the libraries that are not installed, each once."""
    return sorted({rival.name for rival in _OPTIONAL if not find_spec(rival.module)})


def rivals_of(kernel: str, codec: str, among: tuple[Rival, ...]) -> list[Rival]:
    """Return those that do what this kernel does."""
    return [r for r in among if r.kernel == kernel and codec in r.codecs]
