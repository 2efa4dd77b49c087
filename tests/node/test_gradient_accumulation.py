"""A round may end before the optimiser's chain has seen a gradient: then there is none to share.

Story: with optax.MultiSteps around a chain that holds the drift correction, and rounds shorter
than what it collects, `exchange` ended with "params lack the leaf".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import learnae
from learnae.learn import drift_correction
from learnae.transports import MemoryNetwork

optax = pytest.importorskip("optax")


def test_rounds_shorter_than_the_accumulation(tmp_path: Path) -> None:
    charter = learnae.parse_charter('[swarm]\nname = "accumulate"\n[training]\nsteps = 1')
    optimizer = optax.MultiSteps(optax.chain(drift_correction(), optax.sgd(0.1)), 4)
    endpoint = MemoryNetwork().endpoint("me")
    params = {"w": np.ones(3, np.float32)}
    with learnae.join(charter, params, home=tmp_path, transport=endpoint) as peer:
        state = optimizer.init(params)
        for _ in range(9):
            updates, state = optimizer.update({"w": params["w"]}, state, params)
            params = {"w": np.asarray(params["w"] + updates["w"])}
            params, state = peer.exchange(params, samples=1, state=state)
        assert peer.round == 9
    np.testing.assert_allclose(params["w"], 0.81, rtol=1e-6)  # two updates of a tenth
