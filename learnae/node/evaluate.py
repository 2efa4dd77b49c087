"""Peers' models read from their folders, also while the peers run, and measured on a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import CharterError, StateError
from learnae.learn import tabular
from learnae.learn.models import Model
from learnae.node.checkpoint import Checkpoint
from learnae.node.gate import saved_params
from learnae.node.home import newest_checkpoint
from learnae.node.join import read_charter
from learnae.node.trainer import charter_model, default_cache
from learnae.payload import PyTree, Schema, unflatten
from learnae.swarm import Charter

__all__ = ["Loaded", "evaluate_homes", "load_home", "read_checkpoint"]


@dataclass(frozen=True)
class Loaded:
    """A peer's newest model.

    Attributes
    ----------
    charter, model
        The swarm's.
    round
        The peer's round when it was saved.
    vector
        The shared leaves as one vector, float32, shape (n_elements,).
    params
        The same as a pytree of NumPy arrays.
    """

    charter: Charter
    model: Model
    round: int
    vector: NDArray[np.float32]
    params: PyTree


def read_checkpoint(home: str | os.PathLike[str]) -> Checkpoint:
    """Read a peer's newest checkpoint that is whole, without locking its folder.

    Raises
    ------
    StateError
        If there is none, or it cannot be read.
    CheckpointError
        If there is one, but damaged, and the one before as well.
    """
    checkpoint, _ = newest_checkpoint(Path(home))
    if checkpoint is not None:
        return checkpoint
    raise StateError(
        f"{Path(home)} holds no checkpoint: give the folder of a peer that has trained (--home)"
    )


def load_home(home: str | os.PathLike[str], charter: str | os.PathLike[str]) -> Loaded:
    """Return the newest model of the peer whose folder is `home`.

    Raises
    ------
    UsageError
        If there is no checkpoint, or it is of another swarm than `charter`.
    """
    swarm = read_charter(charter)
    checkpoint = read_checkpoint(home)
    if checkpoint.swarm_id != swarm.swarm_id:
        raise CharterError(
            f"{os.fspath(home)} belongs to the swarm {checkpoint.swarm_id.hex()[:8]}, but "
            f"{os.fspath(charter)} describes {swarm.swarm_id.hex()[:8]}: give the charter that the "
            "peer joined with"
        )
    model = charter_model(swarm, Path(charter).parent)
    like = model.init(swarm.seed)
    schema = Schema.of(like)
    vector = saved_params(checkpoint.params, schema, os.fspath(home))
    return Loaded(swarm, model, checkpoint.round, vector, unflatten(schema, vector, like))


def evaluate_homes(
    homes: Sequence[str | os.PathLike[str]],
    charter: str | os.PathLike[str],
    data: str | os.PathLike[str],
    cache: Path | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """Measure the newest model of every home on one table.

    Parameters
    ----------
    data
        Rows as the charter describes them; standardised with its statistics, or, where it has
        none, with their own.
    cache
        JAX compilation cache; None for the user's cache folder.

    Returns
    -------
    n_rows, results
        One mapping a home: ``home``, ``peer`` round and the model's metrics.
    """
    from learnae.learn.optimizers import make_optimizer, require_jax, use_compilation_cache

    require_jax()
    use_compilation_cache(cache or default_cache())
    from learnae.learn.evaluation import evaluate
    from learnae.learn.rounds import make_round

    loaded = [load_home(home, charter) for home in homes]
    first = loaded[0]
    choice = first.charter.data
    table = tabular.standardise(tabular.read_table(data, choice), choice)[0]
    training = first.charter.training
    optimizer = make_optimizer(training.optimizer, training.learning_rate)
    fns = make_round(first.model, optimizer, first.params, training.drift_correction)
    results: list[dict[str, Any]] = []
    for home, peer in zip(homes, loaded, strict=True):
        metrics = evaluate(fns, peer.vector, table)
        results.append({"home": os.fspath(home), "round": peer.round, **metrics})
    return len(table), results
