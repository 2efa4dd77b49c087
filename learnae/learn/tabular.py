"""Tables of numbers with a label: reading, checking, standardising.

A table is read from CSV (plain or gzipped) or NPZ as the charter's data section says, in
blocks of bounded size. Every mistake in a file becomes one `DataError` line that names file,
line, cause and cure. NumPy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.wording import count

__all__ = [
    "Batch",
    "DataChoice",
    "Moments",
    "Table",
    "concatenate",
    "iterate_table",
    "read_table",
    "standardise",
    "table_moments",
    "write_npz",
]

Float32 = NDArray[np.float32]
Batch = tuple[Float32, NDArray[Any] | None]
"""(x, y): float32 [..., columns] and int32 classes, float32 targets, or None."""


class DataChoice(Protocol):
    """What of a charter's data section is needed here (any object with these attributes)."""

    @property
    def label(self) -> str | None:
        """Column that holds the label; None for data without one."""

    @property
    def columns(self) -> Sequence[str]:
        """Columns to use, in order; empty means all but the label, as they come."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in order; empty means that the label is a number to predict."""

    @property
    def mean(self) -> Sequence[float] | None:
        """Mean of each column, or None."""

    @property
    def std(self) -> Sequence[float] | None:
        """Standard deviation of each column, or None."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers, with labels.

    Attributes
    ----------
    x
        float32 [rows, columns], C-contiguous, all finite.
    y
        int32 [rows], index into `classes`; float32 [rows] where there are no classes; None
        where there is no label.
    columns, classes
        Their names.
    """

    x: Float32
    y: NDArray[Any] | None
    columns: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    def take(self, rows: NDArray[np.intp]) -> Table:
        """Return a table of these rows, in this order."""
        return replace(self, x=self.x[rows], y=None if self.y is None else self.y[rows])


@dataclass(frozen=True)
class Moments:
    """Count, mean and summed squared deviation of each column, in float64.

    `merge` is exact and symmetric up to rounding (Chan, Golub & LeVeque, 1979), so statistics
    can be gathered block by block.
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]

    @staticmethod
    def of(x: NDArray[Any]) -> Moments:
        """Return the moments of x [rows, columns]."""
        if len(x) == 0:
            zeros = np.zeros(x.shape[1])
            return Moments(0, zeros, zeros)
        mean = x.mean(axis=0, dtype=np.float64)
        return Moments(len(x), mean, np.square(x - mean).sum(axis=0))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows together."""
        count = self.count + other.count
        if count == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        m2 = self.m2 + other.m2 + delta * delta * (self.count * other.count / count)
        return Moments(count, mean, m2)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each column (divided by n); 1 where a column is constant."""
        std = np.sqrt(self.m2 / max(self.count, 1))
        # A constant column's computed deviation is rounding noise relative to its mean.
        return np.where(std > 1e-12 * np.abs(self.mean), std, 1.0)


def table_moments(tables: Iterable[Table]) -> Moments:
    """Return the moments of all rows of some tables (at least one), in one pass."""
    total: Moments | None = None
    for table in tables:
        block = Moments.of(table.x)
        total = block if total is None else total.merge(block)
    if total is None:
        raise DataError("no rows to take statistics of")
    return total


def standardise(table: Table, choice: DataChoice) -> tuple[Table, str | None]:
    """Return the table with each column as (x - mean) / std, and a note for the user.

    The statistics are the charter's, which are the same for all peers and which its author
    chose to publish. Where it gives none they are this table's own: then nothing leaves this
    machine, but peers see differently scaled inputs; the note says so.
    """
    if choice.mean is None or choice.std is None:
        moments = Moments.of(table.x)
        mean, std = moments.mean, moments.std
        note = (
            f"standardised with this peer's own mean and deviation of {count(len(table), 'row')}, "
            "as the charter gives none (data.mean, data.std); a model file alone does not hold them"
        )
        return _scaled(table, mean, std), note
    mean, std = np.asarray(choice.mean, np.float64), np.asarray(choice.std, np.float64)
    n = table.x.shape[1]
    if mean.shape != (n,) or std.shape != (n,):
        means, deviations = count(mean.size, "mean"), count(std.size, "deviation")
        raise DataError(
            f"the charter has {means} and {deviations}, but the data has "
            f"{count(n, 'column')}: data.mean and data.std need one number a column"
        )
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise DataError("data.mean and data.std must be finite, and data.std above 0")
    return _scaled(table, mean, std), None


def _scaled(table: Table, mean: NDArray[np.float64], std: NDArray[np.float64]) -> Table:
    x = np.empty_like(table.x)
    for start in range(0, len(x), 65536):  # bounds the float64 intermediate
        rows = slice(start, start + 65536)
        x[rows] = (table.x[rows] - mean) / std
    return replace(table, x=x)


def concatenate(tables: Sequence[Table]) -> Table:
    """Return one table of all rows; all must have the same columns and classes."""
    if not tables:
        raise DataError("no rows: the list of tables is empty")
    first = tables[0]
    if any((t.columns, t.classes) != (first.columns, first.classes) for t in tables):
        raise DataError("these tables differ in columns or classes and cannot be joined")
    labels = [t.y for t in tables if t.y is not None]
    y = np.concatenate(labels) if labels else None
    return replace(first, x=np.concatenate([t.x for t in tables]), y=y)


def read_table(path: str | PathLike[str], choice: DataChoice, max_rows: int | None = None) -> Table:
    """Read a CSV, CSV.gz or NPZ file as the charter's data section says.

    Raises
    ------
    DataError
        One line with file, line where there is one, cause and cure.
    """
    tables = list(iterate_table(path, choice, max_rows))
    return tables[0] if len(tables) == 1 else concatenate(tables)


def iterate_table(
    path: str | PathLike[str], choice: DataChoice, max_rows: int | None = None
) -> Iterator[Table]:
    """Yield the file's rows as tables of bounded size; otherwise as `read_table`.

    An NPZ file is not streamed and comes as one table.
    """
    # Imported here because both need Table.
    from learnae.learn import csvtext, npzfile

    file = Path(path)
    if not file.exists():
        raise DataError(f"{file}: no such file; give the CSV or NPZ file with this peer's data")
    if file.is_dir():
        raise DataError(f"{file}: is a folder; give the CSV or NPZ file itself")
    try:
        if file.suffix == ".npz":
            yield npzfile.read_npz(file, choice, max_rows)
        else:
            yield from csvtext.iterate_csv(file, choice, max_rows)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error


def write_npz(path: str | PathLike[str], table: Table) -> None:
    """Write a table so that `read_table` reads it back: arrays x, y, columns, classes."""
    arrays: Mapping[str, Any] = {
        "x": table.x,
        "columns": np.array(table.columns, dtype=np.str_),
        "classes": np.array(table.classes, dtype=np.str_),
    }
    if table.y is not None:
        arrays = {**arrays, "y": table.y}
    with open(path, "wb") as out:
        np.savez(out, allow_pickle=False, **arrays)
