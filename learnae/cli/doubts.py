"""Columns that hardly anybody means to learn from: constants, and row numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from learnae.learn.tabular import Table

__all__ = ["Doubts"]

# In fewer rows, numbers are in order by chance.
_FEWEST = 10
_SHOWN = 8
_CURE = "--columns names those to learn from"


class Doubts:
    """What there is to doubt about the columns of a file that is read block by block."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._columns: Sequence[str] = ()
        self._n_rows = 0
        self._last: NDArray[Any] | None = None  # the row before, with the label at its end
        self._constant, self._rising, self._falling, self._whole = (np.ones(0, bool),) * 4
        self._per_class = np.zeros(0, int)

    def look_at(self, tables: Iterable[Table]) -> Iterator[Table]:
        """Yield the tables as they come, each after a look at it."""
        for table in tables:
            if len(table):
                self._add(table)
            yield table

    def _add(self, table: Table) -> None:
        assert table.y is not None, "a charter is made of data with labels"
        rows = np.column_stack([table.x, table.y])
        if self._last is None:
            self._columns = table.columns
            self._constant, self._rising, self._falling, self._whole = np.ones(
                (4, rows.shape[1]), bool
            )
        else:
            rows = np.vstack([self._last, rows])
        steps = np.diff(rows, axis=0)
        # Beyond 2^24 whole numbers that differ may be one float32: equal says nothing there.
        blurred = (steps == 0) & (np.abs(rows[1:]) >= 2**24)
        self._constant &= (steps == 0).all(axis=0)
        self._rising &= ((steps > 0) | blurred).all(axis=0)
        self._falling &= ((steps < 0) | blurred).all(axis=0)
        self._whole &= (rows == np.rint(rows)).all(axis=0)
        self._last = rows[-1]
        self._n_rows += len(table)
        if table.classes:
            counts = np.bincount(table.y, minlength=len(table.classes))
            self._per_class = counts + (self._per_class if self._per_class.size else 0)

    def lines(self) -> list[str]:
        """Return one line for each doubt about all that was seen."""
        if self._n_rows < 2:
            return []
        found = []
        assert self._last is not None
        blurred = self._constant & (np.abs(self._last) >= 2**24)
        constant = self._names_of(self._constant & ~blurred)
        if constant:
            found.append(f"{_named(constant)}: the same in every row; {_CURE}")
        same = self._names_of(blurred)
        if same:
            found.append(
                f"{_named(same)}: the same in every row as float32, which has 24 bits; subtract an "
                f"offset, or leave it out: {_CURE}"
            )
        ordered = self._whole & (self._rising | self._falling) & ~blurred
        ids = self._names_of(ordered)
        if ids and self._n_rows >= _FEWEST:
            found.append(f"{_named(ids)}: whole numbers in order, as ids are; {_CURE}")
        if self._n_rows >= _FEWEST and self._label_is_a_name(bool(ordered[-1])):
            found.append(f"label {self._label!r}: another in every row, as ids are")
        if not self._per_class.size and self._constant[-1]:
            found.append(f"label {self._label!r}: the same in every row")
        return found

    def _names_of(self, which: NDArray[np.bool_]) -> list[str]:
        return [name for name, is_so in zip(self._columns, which, strict=False) if is_so]

    def _label_is_a_name(self, is_ordered: bool) -> bool:
        return int(self._per_class.max()) <= 1 if self._per_class.size else is_ordered


def _named(columns: Sequence[str]) -> str:
    if len(columns) == 1:
        return f"column {columns[0]!r}"
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return f"columns {', '.join(map(repr, columns[:_SHOWN]))}{more}"
