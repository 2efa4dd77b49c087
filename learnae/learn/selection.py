"""Which columns of a file are used, and what its labels mean: shared by CSV and NPZ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.learn.tabular import DataChoice

__all__ = ["Selection", "encode_classes", "listing", "numeric_classes", "select"]


@dataclass(frozen=True)
class Selection:
    """Positions in a file's list of columns.

    Attributes
    ----------
    columns, positions
        The columns used, and where each stands in the file.
    label
        Where the label stands; None where there is none.
    """

    columns: tuple[str, ...]
    positions: tuple[int, ...]
    label: int | None


def listing(names: Sequence[str], most: int = 12) -> str:
    """Return names for an error line, shortened when there are many."""
    shown = ", ".join(name if name.strip() else repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")


def select(names: Sequence[str], choice: DataChoice, where: str) -> Selection:
    """Find the charter's columns among a file's names.

    Parameters
    ----------
    where
        File, with line where there is one: the start of every error line.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}: the column name {twice[0]!r} occurs twice; rename one of them")
    if choice.label is not None and choice.label not in names:
        raise DataError(
            f"{where}: no column {choice.label!r} for the label; there are {listing(names)}; "
            "rename the column, or set data.label in the charter"
        )
    columns = tuple(choice.columns) or tuple(name for name in names if name != choice.label)
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(
            f"{where}: no column {missing[0]!r}, which the charter's data.columns names; there "
            f"are {listing(names)}; rename the column in the file"
        )
    if not columns:
        raise DataError(f"{where}: no column besides the label; the model needs at least one")
    label = None if choice.label is None else names.index(choice.label)
    return Selection(columns, tuple(names.index(name) for name in columns), label)


def numeric_classes(classes: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the classes as numbers if all are numbers, so that 1, 1.0 and 1e0 are one class."""
    try:
        values = np.array([float(name) for name in classes])
    except ValueError:
        return None
    distinct = len(np.unique(values)) == len(values)
    return values if len(values) and distinct and np.isfinite(values).all() else None


def encode_classes(labels: NDArray[Any], classes: Sequence[str]) -> NDArray[np.int32]:
    """Return each label's index in `classes`; -1 where it is none of them."""
    numbers = numeric_classes(classes)
    if numbers is not None and labels.dtype.kind in "fiub":
        names: NDArray[Any] = numbers
        labels = labels.astype(np.float64)
    elif numbers is not None:
        return np.array([_index_of_number(str(text), numbers) for text in labels], np.int32)
    else:
        names = np.array(classes, dtype=np.str_)
        labels = np.char.strip(labels.astype(np.str_))
    order = np.argsort(names)
    found = np.searchsorted(names, labels, sorter=order).clip(max=len(names) - 1)
    codes: NDArray[np.int32] = order[found].astype(np.int32)
    return np.where(names[codes] == labels, codes, np.int32(-1))


def _index_of_number(text: str, numbers: NDArray[np.float64]) -> int:
    try:
        hits = np.flatnonzero(numbers == float(text))
    except ValueError:
        return -1
    return int(hits[0]) if len(hits) else -1
