"""CSV files, plain or gzipped: fast blocks, and on failure the exact line and cell.

A block of lines is parsed by NumPy's C reader. Only when that fails, or a value is not finite
or not a class, is the block looked at again in Python, cell by cell, to say which line, which
column and what to do.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.learn.selection import (
    Selection,
    encode_classes,
    listing,
    numeric_classes,
    select,
)
from learnae.learn.tabular import DataChoice, Table
from learnae.wording import count

__all__ = ["BLOCK_NBYTES", "iterate_csv", "read_header"]

# Characters read at a time. NumPy's reader gains nothing above about a megabyte; this much
# makes a block's text, cells and arrays about 50 MB.
BLOCK_NBYTES = 8 << 20


@dataclass(frozen=True)
class _Layout:
    """How to read one file's lines."""

    file: Path
    delimiter: str
    names: tuple[str, ...]
    header_line: int
    selection: Selection
    choice: DataChoice
    dtype: np.dtype[Any]


def iterate_csv(
    file: Path,
    choice: DataChoice,
    max_rows: int | None = None,
    header: Sequence[str] | None = None,
) -> Iterator[Table]:
    """Yield the rows as tables of bounded size; at least one, none of them empty.

    Parameters
    ----------
    max_rows
        Stop after this many rows.
    header
        The names of the columns, for a file without a header line.

    Raises
    ------
    DataError
        One line: file, line, cause, cure.
    """
    try:
        with _open(file) as stream:
            yield from _iterate(file, stream, choice, max_rows, header)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file}: damaged or cut off gzip data; copy the file again") from error


def read_header(file: Path) -> tuple[str, ...]:
    """Return the column names in a file's first line."""
    with _open(file) as stream:
        return _read_header(file, stream)[1]


@contextmanager
def _open(file: Path) -> Iterator[IO[str]]:
    with ExitStack() as stack:
        raw: Any = stack.enter_context(open(file, "rb"))
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] == b"PK" or magic == b"\xd0\xcf\x11\xe0":
            raise DataError(f"{file}: a spreadsheet or ZIP file, not CSV; save it as CSV first")
        if magic[:2] == b"\x1f\x8b":
            raw = stack.enter_context(gzip.GzipFile(fileobj=raw))
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace"))


def _read_header(file: Path, stream: IO[str]) -> tuple[str, tuple[str, ...], int]:
    """Return (delimiter, names, line number) from the first line that is not blank."""
    line, number = "", 0
    while not line.strip():
        line, number = stream.readline(1 << 20), number + 1
        if not line:
            raise DataError(f"{file}: the file is empty; it needs a header line and rows")
    if "\0" in line or len(line) == 1 << 20:
        raise DataError(f"{file}: not a text file; give a CSV (or CSV.gz) or NPZ file")
    delimiter = max(",;\t", key=line.count)
    names = tuple(cell.strip() for cell in _cells(line.lstrip("# "), delimiter))
    if all(_number(name) is not None for name in names):
        raise DataError(
            f"{file}:{number}: the first line holds numbers only, no column names; add a header "
            "line such as: x0,x1,...,label"
        )
    return delimiter, names, number


def _iterate(
    file: Path,
    stream: IO[str],
    choice: DataChoice,
    max_rows: int | None,
    header: Sequence[str] | None,
) -> Iterator[Table]:
    delimiter, names, number = (
        (",", tuple(header), 0) if header is not None else _read_header(file, stream)
    )
    where = f"{file}:{number}" if number else str(file)
    selection = select(names, choice, where)
    layout = _Layout(
        file, delimiter, names, number, selection, choice, _row_dtype(names, selection, choice)
    )
    first, n_rows = number + 1, 0
    while lines := stream.readlines(BLOCK_NBYTES):
        if max_rows is not None:
            lines = lines[: max_rows - n_rows]
        filled = [line for line in lines if not line.isspace()]
        if filled:
            yield _parse(layout, filled, lines, first)
            n_rows += len(filled)
        if max_rows is not None and n_rows >= max_rows:
            return
        first += len(lines)
    if n_rows == 0:
        raise DataError(f"{file}: no rows below the header; add the data")


def _row_dtype(names: Sequence[str], selection: Selection, choice: DataChoice) -> np.dtype[Any]:
    """Return a structured dtype with one field a column; unused columns are cut to one byte."""
    fields: list[tuple[str, str]] = []
    used = set(selection.positions)
    for position in range(len(names)):
        kind = "f4" if position in used else "U1"
        if position == selection.label:
            plain = not choice.classes or numeric_classes(choice.classes) is not None
            longest = max((len(name) for name in choice.classes), default=0)
            # Room for blanks around a name: a longer label is no class of ours anyway.
            kind = "f8" if plain else f"U{longest + 16}"
        fields.append((f"c{position}", kind))
    return np.dtype(fields)


def _parse(layout: _Layout, filled: list[str], lines: list[str], first: int) -> Table:
    """Return one block; `lines` and `first` (its line number) locate a mistake."""
    try:
        rows = np.loadtxt(
            filled, dtype=layout.dtype, delimiter=layout.delimiter, comments=None,
            quotechar='"', ndmin=1,
        )  # fmt: skip
    except ValueError as error:
        raise _blame(layout, lines, first, str(error)) from None
    selection = layout.selection
    x = np.empty((len(rows), len(selection.positions)), np.float32)
    for column, position in enumerate(selection.positions):
        x[:, column] = rows[f"c{position}"]
    y = None if selection.label is None else _labels(rows[f"c{selection.label}"], layout)
    wrong = y is not None and not (np.isfinite(y).all() and (y.dtype != np.int32 or y.min() >= 0))
    if wrong or not np.isfinite(x).all():
        raise _blame(layout, lines, first, "a value that is not finite, or not a class")
    return Table(x, y, selection.columns, tuple(layout.choice.classes))


def _labels(column: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    if not layout.choice.classes:
        with np.errstate(over="ignore"):  # infinity is reported by the caller
            return column.astype(np.float32)
    return encode_classes(column, layout.choice.classes)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.rstrip("\r\n").split(delimiter)


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _blame(layout: _Layout, lines: list[str], first: int, reason: str) -> DataError:
    """Return the error for the first bad cell of a block that could not be used."""
    for number, line in enumerate(lines, start=first):
        if line.isspace():
            continue
        problem = _problem(layout, _cells(line, layout.delimiter))
        if problem is not None:
            return DataError(f"{layout.file}:{number}: {problem}")
    last = first + len(lines) - 1
    return DataError(f"{layout.file}:{first}-{last}: {reason.splitlines()[0]}; mend these lines")


def _problem(layout: _Layout, cells: list[str]) -> str | None:
    if len(cells) != len(layout.names):
        header = f"the header (line {layout.header_line})" if layout.header_line else "the format"
        found = count(len(cells), "column")
        return f"{found}, but {header} has {len(layout.names)}; mend or delete the line"
    for name, position in zip(layout.selection.columns, layout.selection.positions, strict=True):
        problem = _number_problem(cells[position])
        if problem:
            return f"column {name!r} {problem}, or leave the column out of data.columns"
    if layout.selection.label is None:
        return None
    cell = cells[layout.selection.label]
    problem = _label_problem(cell, tuple(layout.choice.classes))
    return problem and f"label {layout.choice.label!r} {problem}"


def _label_problem(cell: str, classes: tuple[str, ...]) -> str | None:
    if not classes:
        problem = _number_problem(cell)
        return problem and f"{problem}, or name data.classes in the charter"
    if not cell.strip():
        return "is empty; fill it in or delete the line"
    if encode_classes(np.array([cell]), classes)[0] < 0:
        return (
            f"is {cell.strip()[:40]!r}, none of the charter's classes ({listing(classes)}); mend "
            "or delete the line"
        )
    return None


def _number_problem(cell: str) -> str | None:
    if not cell.strip():
        return "is empty; fill it in, delete the line"
    value = _number(cell)
    if value is None:
        comma = _number(cell.replace(",", ".", 1))
        hint = "write a decimal point" if comma is not None and "," in cell else "mend the cell"
        return f"has {cell.strip()[:40]!r}, which is not a number; {hint}"
    with np.errstate(over="ignore"):
        if not np.isfinite(np.float32(value)):
            return f"has {cell.strip()[:40]!r}, which is not finite; mend or delete the line"
    return None
