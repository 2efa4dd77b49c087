"""What a data file says about itself, for whoever writes a charter from it.

Reading rows as a charter describes them is `learnae.learn.tabular`'s business; here there is no
charter yet, so columns and classes are found in the file.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from learnae.errors import DataError

__all__ = ["find_classes", "find_columns"]

# A label with more values than this is a quantity or a name, not a class.
MAX_CLASSES = 1000


def find_columns(path: Path) -> tuple[str, ...]:
    """Return the names of all columns of a CSV or NPZ file, the label's included.

    An NPZ file of the form `x`, `y` may name the columns of `x`; otherwise they are x0, x1, ...

    Raises
    ------
    DataError
        One line: file, cause, cure.
    """
    if path.suffix == ".npz":
        arrays = load_npz(path)
        if "x" not in arrays or arrays["x"].ndim != 2:
            return tuple(arrays)
        if "columns" in arrays:
            return tuple(str(name) for name in arrays["columns"].ravel())
        return tuple(f"x{index}" for index in range(arrays["x"].shape[1]))
    from learnae.learn.csvtext import read_header

    try:
        return read_header(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def find_classes(path: Path, label: str) -> tuple[str, ...]:
    """Return the different values of the column `label`, numbers by size, text by alphabet.

    Raises
    ------
    DataError
        If there is no such column, or it has more than `MAX_CLASSES` values.
    """
    if path.suffix == ".npz":
        return classes_in_npz(path, label)
    columns = find_columns(path)
    if label not in columns:
        raise DataError(f"{path}: no column {label!r}; there are {', '.join(columns[:12])}")
    try:
        with open_text(path) as stream:
            return distinct(path, label, cells(stream, columns.index(label)))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def load_npz(path: Path) -> dict[str, Any]:
    """Return the arrays of an NPZ file; Python objects in it are refused."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: not an NPZ file that can be read: {error}") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not an NPZ file, or damaged; use numpy.savez") from error


def classes_in_npz(path: Path, label: str) -> tuple[str, ...]:
    """Return the classes of an NPZ file: as it names them, or as its labels have them."""
    arrays = load_npz(path)
    if "x" in arrays and arrays["x"].ndim == 2:
        if "classes" in arrays and arrays["classes"].size:
            return tuple(str(name) for name in arrays["classes"].ravel())
        label = "y"
    if label not in arrays:
        raise DataError(f"{path}: no array {label!r} for the label; there are {', '.join(arrays)}")
    return distinct(path, label, (str(value) for value in arrays[label].ravel().tolist()))


def open_text(path: Path) -> Any:
    """Open a CSV file, gzipped or plain, as text."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    opener: Any = gzip.open if zipped else open
    return opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="")


def cells(stream: Iterable[str], position: int) -> Iterator[str]:
    """Yield one column of a CSV text below its header line; too short lines are passed over."""
    lines = (line for line in stream if not line.isspace())
    header = next(lines, "")
    for row in csv.reader(lines, delimiter=max(",;\t", key=header.count)):
        if position < len(row):
            yield row[position].strip()


def distinct(path: Path, label: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return the different `values`, sorted; numbers that are written differently are one."""
    found: dict[float | str, str] = {}
    for value in values:
        if not value:
            raise DataError(
                f"{path}: the label {label!r} is empty in some row; fill it in or delete the row"
            )
        found.setdefault(as_number(value), value)
        if len(found) > MAX_CLASSES:
            raise DataError(
                f"{path}: {label!r} has more than {MAX_CLASSES} different values; name the column "
                "that holds the class, or use --numeric-label with a model of your own"
            )
    if not found:
        raise DataError(f"{path}: there is no row below the header: give a file with data")
    if len(found) < 2:
        raise DataError(
            f"{path}: {label!r} has a single value, {next(iter(found.values()))!r}; name all "
            "classes with --classes if other peers have more"
        )
    if all(isinstance(key, float) for key in found):
        return tuple(found[key] for key in sorted(found, key=float))
    return tuple(sorted(found.values()))


def as_number(value: str) -> float | str:
    """Return `value` as a finite number if it is one, else as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value
