"""NPZ files: a matrix `x` with labels `y`, or one array a column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.learn.selection import Selection, encode_classes, listing, select
from learnae.learn.tabular import DataChoice, Table
from learnae.wording import count

__all__ = ["read_npz"]


def read_npz(file: Path, choice: DataChoice, max_rows: int | None = None) -> Table:
    """Read an NPZ file in one of two forms.

    *Matrix*: `x` [rows, columns]; `y` [rows] with labels as the charter names them, or as
    int indices together with an array `classes`; optionally `columns`, their names.
    *Columns*: one array [rows] a column, the label among them.

    Raises
    ------
    DataError
        One line: file, array, cause, cure.
    """
    arrays = _load(file)
    if "x" in arrays and arrays["x"].ndim == 2:
        return _matrix(file, arrays, choice, max_rows)
    names = tuple(arrays)
    selection = select(names, choice, str(file))
    lengths = {name: arrays[name].shape for name in names}
    if len(set(lengths.values())) != 1 or arrays[names[0]].ndim != 1:
        shapes = listing([f"{name} {shape}" for name, shape in lengths.items()])
        raise DataError(f"{file}: columns must be arrays of one length, but there are {shapes}")
    block = slice(None, max_rows)
    columns = [_floats(file, name, arrays[name][block]) for name in selection.columns]
    y = None if choice.label is None else arrays[choice.label][block]
    return _table(file, np.stack(columns, axis=1), y, selection, choice, None)


def _load(file: Path) -> dict[str, NDArray[Any]]:
    with open(file, "rb") as raw:
        magic = raw.read(6)
        raw.seek(0)
        if magic == b"\x93NUMPY":
            raise DataError(f"{file}: a single array, not an NPZ file; use numpy.savez")
        try:
            # The file is opened here, since np.load leaves it open when the archive is bad.
            with np.load(raw, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except Exception as error:  # damage surfaces as a dozen types, from struct to memory
            if "allow_pickle=False" in str(error) and "Object arrays" in str(error):
                raise DataError(
                    f"{file}: holds Python objects (dtype object); save numbers as float32 and "
                    "labels as integers or text"
                ) from error
            raise DataError(
                f"{file}: not an NPZ file, or damaged; write it with numpy.savez"
            ) from error
    if not arrays:
        raise DataError(f"{file}: the file is empty; it needs arrays x and y, or one a column")
    return arrays


def _matrix(
    file: Path, arrays: Mapping[str, NDArray[Any]], choice: DataChoice, max_rows: int | None
) -> Table:
    x = arrays["x"]
    named = arrays.get("columns")
    names = (
        [str(name) for name in named.ravel()]
        if named is not None
        else list(choice.columns) or [f"x{i}" for i in range(x.shape[1])]
    )
    if len(names) != x.shape[1]:
        raise DataError(
            f"{file}: array 'x' has {count(x.shape[1], 'column')}, but there are "
            f"{count(len(names), 'name')}; give 'x' the columns of data.columns, or name them in "
            "an array 'columns'"
        )
    if choice.label is not None and "y" not in arrays:
        raise DataError(
            f"{file}: no array 'y' for the label {choice.label!r}; there are "
            f"{listing(list(arrays))}; save the labels as 'y'"
        )
    y = arrays["y"] if choice.label is not None else None
    if y is not None and y.shape != x.shape[:1]:
        raise DataError(
            f"{file}: array 'y' has shape {y.shape}, but 'x' has {count(len(x), 'row')}; 'y' "
            "needs one label a row"
        )
    unlabelled = _WithoutLabel(choice)
    selection = select(names, unlabelled, str(file))
    block = slice(None, max_rows)
    x = _floats(file, "x", x[block][:, list(selection.positions)])
    return _table(
        file, x, None if y is None else y[block], selection, choice, arrays.get("classes")
    )


class _WithoutLabel:
    """The same choice of columns in a file that keeps its labels elsewhere."""

    def __init__(self, choice: DataChoice) -> None:
        self.label: str | None = None
        self.columns = choice.columns
        self.classes = choice.classes
        self.mean = choice.mean
        self.std = choice.std


def _floats(file: Path, name: str, array: NDArray[Any]) -> NDArray[np.float32]:
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"{file}: array {name!r} has dtype {array.dtype}, but numbers are needed; save it as "
            "float32"
        )
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise DataError(
            f"{file}: array {name!r} has a NaN or infinity in row {row} (from 0); mend or drop it"
        )
    return values


def _table(
    file: Path,
    x: NDArray[np.float32],
    y: NDArray[Any] | None,
    selection: Selection,
    choice: DataChoice,
    classes: NDArray[Any] | None,
) -> Table:
    if len(x) == 0:
        raise DataError(f"{file}: no rows; add the data")
    names = tuple(choice.classes)
    if y is not None and not names:
        y = _floats(file, "y" if choice.label is None else choice.label, y)
    elif y is not None:
        labels = y
        if classes is not None and y.dtype.kind in "iu" and classes.size:
            known = (y >= 0) & (y < classes.size)
            labels = np.where(known, classes.astype(np.str_)[np.where(known, y, 0)], "?")
        if labels.dtype.kind not in "iubfUS":
            raise DataError(f"{file}: labels have dtype {y.dtype}; save them as integers or text")
        codes = encode_classes(labels, names)
        if (codes < 0).any():
            row = int(np.flatnonzero(codes < 0)[0])
            raise DataError(
                f"{file}: label {str(y[row])!r} in row {row} (from 0) is none of the charter's "
                f"classes ({listing(names)}); mend or drop the row"
            )
        y = codes
    return Table(x, y, selection.columns, names)
