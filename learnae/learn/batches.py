"""Which rows go into which step: drawn by NumPy, outside the compiled round.

Every peer hands the compiled round arrays of the same shape, however few rows it holds, so
that one compilation serves the whole swarm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.learn.tabular import Batch, Table

__all__ = ["BatchSource"]


class BatchSource:
    """An endless stream of batches from one table.

    Rows are taken from one random permutation after another, so each row is used once an
    epoch. A batch may straddle two epochs, and where a peer holds fewer rows than a batch it
    holds whole permutations: every row equally often, to within one.

    Parameters
    ----------
    table
        The peer's training rows.
    batch, steps
        Rows a step, steps a round.
    seed
        Any sequence of non-negative integers, as `numpy.random.default_rng` takes it. Include
        something of the peer's own: peers that share a seed draw in lockstep.
    """

    def __init__(self, table: Table, batch: int, steps: int, seed: int | Sequence[int]) -> None:
        if len(table) == 0:
            raise DataError("no training rows: a trainer needs at least one (or join as a relay)")
        if batch < 1 or steps < 1:
            raise ValueError(f"batch and steps must be at least 1, got {batch} and {steps}")
        self._table = table
        self._shape = (steps, batch)
        self._random = np.random.default_rng(seed)
        self._left: NDArray[np.intp] = np.empty(0, np.intp)

    def indices(self) -> NDArray[np.intp]:
        """Return the rows of the next round, [steps, batch]."""
        steps, batch = self._shape
        parts, missing = [self._left], steps * batch - len(self._left)
        while missing > 0:
            parts.append(self._random.permutation(len(self._table)))
            missing -= len(parts[-1])
        stream = np.concatenate(parts) if len(parts) > 1 else parts[0]
        self._left = stream[steps * batch :]
        return stream[: steps * batch].reshape(self._shape)

    def next(self) -> Batch:
        """Return the next round's batches: x [steps, batch, columns], y [steps, batch]."""
        rows = self.indices()
        y = self._table.y
        return self._table.x.take(rows, axis=0), None if y is None else y.take(rows)
