"""How good params are on a table."""

from __future__ import annotations

from collections.abc import Iterable

from learnae.learn.rounds import Float32, RoundFns
from learnae.learn.tabular import Table

__all__ = ["evaluate"]


def evaluate(
    fns: RoundFns, params: Float32, tables: Table | Iterable[Table], chunk: int = 65536
) -> dict[str, float]:
    """Return the row-weighted mean of the loss and the model's metrics, and `n`, the rows.

    Parameters
    ----------
    params
        float32 [n_elements].
    tables
        A table, or several that are never all in memory (`tabular.iterate_table`); already
        standardised.
    chunk
        Rows a call. A table up to this size compiles once; a larger one once more for its rest.
    """
    n, sums = 0, dict[str, float]()
    for table in [tables] if isinstance(tables, Table) else tables:
        for start in range(0, len(table), chunk):
            rows = slice(start, start + chunk)
            x, y = table.x[rows], None if table.y is None else table.y[rows]
            for name, value in fns.metrics(params, (x, y)).items():
                sums[name] = sums.get(name, 0.0) + value * len(x)
            n += len(x)
    return {**{name: value / max(n, 1) for name, value in sums.items()}, "n": float(n)}
