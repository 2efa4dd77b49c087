"""How the learning rate falls at the end of a run."""

from __future__ import annotations

__all__ = ["cooldown_rate"]


def cooldown_rate(done: int, n_rounds: int, cooldown: float) -> float:
    """Return the factor on the learning rate of the round after `done` finished ones.

    ``min(1, (n_rounds - done) / (cooldown n_rounds))``: 1 until the last part of the run, then
    linearly towards 0. Where every peer's params still move by a full learning rate, single
    rounds of a skewed swarm dip; this lets them settle.

    Parameters
    ----------
    cooldown
        Part of the rounds in which it falls, 0 to 1; 0 for a constant rate.
    """
    falling = cooldown * n_rounds
    return 1.0 if falling <= 0 else min(1.0, max(0.0, (n_rounds - done) / falling))
