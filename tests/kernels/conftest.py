"""One fixture: the facade on every backend and instruction set that this machine has."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest

from learnae import kernels
from learnae.kernels import _load

ROWS = [f"c-{isa}" for isa in importlib.import_module("learnae.kernels._c").isas()] + ["numba"]


@pytest.fixture(params=ROWS, scope="module")
def k(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Give the facade, with one row of ROWS behind it."""
    name, _, isa = request.param.partition("-")
    before = _load._loaded
    _load._loaded = importlib.import_module(f"learnae.kernels._{name}")
    kernels.set_isa(isa or None)
    assert kernels.backend() == name and kernels.isa() == (isa or name)
    yield kernels
    kernels.set_isa(None)
    _load._loaded = before
