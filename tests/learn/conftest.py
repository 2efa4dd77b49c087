from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# Lets the tests of this folder import choices.py beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def shared_compilations(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Many tests build the same round: compile it once a session."""
    if importlib.util.find_spec("jax") and importlib.util.find_spec("optax"):
        from learnae.learn.optimizers import use_compilation_cache

        use_compilation_cache(tmp_path_factory.mktemp("jax-cache"))
