"""What the demo compares with: every peer alone, and all shares on one machine.

Run as ``python -m learnae.cli.demo.baselines PLAN.json``; prints one JSON object. A process of
its own because it needs JAX, which the demo's own process does without. It compiles the very
round that the peers will run, so when they start they find it in the compilation cache.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnae.cli.join import stop_when_input_closes

if TYPE_CHECKING:
    from learnae.learn.tabular import Table
    from learnae.swarm.charter import Charter

__all__ = ["main", "train_baselines"]


def train_baselines(plan: dict[str, Any]) -> dict[str, Any]:
    """Return accuracies on the held-out rows, and the seconds spent on training itself.

    Parameters
    ----------
    plan
        As `learnae.cli.demo.plan.write_plan` writes it.
    """
    from learnae.learn.baseline import train_alone
    from learnae.learn.optimizers import make_optimizer, use_compilation_cache
    from learnae.learn.rounds import make_round
    from learnae.learn.tabular import concatenate
    from learnae.node.join import read_charter
    from learnae.node.trainer import charter_model

    use_compilation_cache(Path(plan["cache"]))
    charter = read_charter(plan["charter"])
    training, seed = charter.training, charter.seed
    model = charter_model(charter, Path(plan["charter"]).parent)
    test, *shares = read_tables([plan["test"], *plan["shares"]], charter)
    # Without a shift the corrected round computes what the plain one does, and is the one that
    # the peers need compiled.
    optimizer = make_optimizer(training.optimizer, training.learning_rate)
    fns = make_round(model, optimizer, model.init(seed), training.drift_correction)
    train_alone(model, shares[0], training, seed, 1, test, fns=fns)  # compiles
    started = time.monotonic()
    n_steps = training.steps * training.rounds
    accuracies = [
        train_alone(
            model, table, training, seed, n_steps, test, batch_seed=[seed, number], fns=fns
        ).accuracy
        for number, table in enumerate([*shares, concatenate(shares)])
    ]
    return {
        "isolated": accuracies[:-1],
        "central": accuracies[-1],
        "steps": n_steps,
        "training_seconds": time.monotonic() - started,
    }


def read_tables(paths: list[str], charter: Charter) -> list[Table]:
    """Return the tables in these files, standardised as the charter says."""
    from learnae.learn.tabular import read_table, standardise

    data = charter.data
    return [standardise(read_table(path, data), data)[0] for path in paths]


def main(arguments: list[str]) -> None:
    """Train the baselines of the plan in the file that `arguments` names."""
    # Nobody is left to read the result when the demo has gone.
    stop_when_input_closes(lambda: os._exit(1))
    plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    print(json.dumps(train_baselines(plan)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
