"""What the same steps give without a swarm: one peer alone, or all data on one machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from learnae.learn.batches import BatchSource
from learnae.learn.evaluation import evaluate
from learnae.learn.models import Model
from learnae.learn.optimizers import make_optimizer
from learnae.learn.rounds import Float32, RoundFns, make_round
from learnae.learn.schedule import cooldown_rate
from learnae.learn.tabular import Table

__all__ = ["Alone", "TrainingChoice", "train_alone"]


class TrainingChoice(Protocol):
    """What of a charter's training section is needed here (any object with these attributes)."""

    @property
    def optimizer(self) -> str:
        """One of `optimizers.OPTIMIZERS`."""

    @property
    def learning_rate(self) -> float:
        """Its learning rate."""

    @property
    def cooldown(self) -> float:
        """Part of the rounds, at their end, in which the learning rate falls."""

    @property
    def batch(self) -> int:
        """Rows a step."""

    @property
    def steps(self) -> int:
        """Steps a round."""


@dataclass(frozen=True)
class Alone:
    """Result of training without a swarm.

    Attributes
    ----------
    metrics
        Of the last params on the test table: `loss`, the model's own (such as `accuracy`), `n`.
    curve
        (steps done, metrics), one entry every `test_every` rounds.
    params
        float32 [n_elements].
    seconds
        Time of the training itself.
    """

    metrics: dict[str, float]
    curve: tuple[tuple[int, dict[str, float]], ...]
    params: Float32 = field(repr=False)
    seconds: float

    @property
    def accuracy(self) -> float:
        """Accuracy on the test table; NaN if the model does not measure it."""
        return self.metrics.get("accuracy", float("nan"))


def train_alone(
    model: Model,
    table: Table,
    training: TrainingChoice,
    seed: int,
    n_steps: int,
    test: Table,
    *,
    batch_seed: int | Sequence[int] | None = None,
    fns: RoundFns | None = None,
    test_every: int = 0,
) -> Alone:
    """Train from the swarm's genesis params on one table, with the swarm's own round.

    Parameters
    ----------
    table, test
        Standardised alike.
    seed
        The charter's: it gives the params to start from, and, unless `batch_seed` is given,
        the order of the rows.
    n_steps
        Gradient steps; a swarm's peer does `steps * rounds`. Rounded up to whole rounds.
    fns
        Functions from `make_round` (with the same model and drift correction off), to share
        one compilation between several calls.
    test_every
        Rounds between entries of `curve`; 0 for none.
    """
    params = model.init(seed)
    if fns is None:
        optimizer = make_optimizer(training.optimizer, training.learning_rate)
        fns = make_round(model, optimizer, params, drift_correction=False)
    flat, state = fns.layout.flatten(params), fns.start()
    seeds = [seed, 1] if batch_seed is None else batch_seed
    source = BatchSource(table, training.batch, training.steps, seeds)
    curve, seconds = [], 0.0
    n_rounds = -(-n_steps // training.steps)
    for done in range(1, n_rounds + 1):
        started = time.perf_counter()
        rate = cooldown_rate(done - 1, n_rounds, training.cooldown)
        flat, state, _, _ = fns.run(flat, state, None, source.next(), rate)
        seconds += time.perf_counter() - started
        if test_every and done % test_every == 0:
            curve.append((done * training.steps, evaluate(fns, flat, test)))
    return Alone(evaluate(fns, flat, test), tuple(curve), flat, seconds)
