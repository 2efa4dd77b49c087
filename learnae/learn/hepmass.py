"""The HEPMASS data (Baldi et al., 2016): collisions with and without a heavy particle.

Three sets: `1000` (one mass, 27 columns), `not1000` (the other four masses) and `all` (28
columns each, the last one the mass). Files are CSV, gzipped as published or plain, with the
header ``# label,f0,...,f26`` and, except in `1000`, ``,mass``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from learnae.errors import DataError
from learnae.learn.csvtext import iterate_csv, read_header
from learnae.learn.tabular import Table, concatenate

__all__ = ["CLASSES", "FEATURES", "SETS", "iterate_hepmass", "read_hepmass"]

FEATURES = tuple(f"f{i}" for i in range(27))
CLASSES = ("0", "1")
SETS = ("1000", "not1000", "all")


@dataclass(frozen=True)
class _Choice:
    columns: tuple[str, ...]
    label: str | None = "label"
    classes: tuple[str, ...] = CLASSES
    mean: None = None
    std: None = None


def iterate_hepmass(
    path: str | PathLike[str], which: str, max_rows: int | None = None
) -> Iterator[Table]:
    """Yield a HEPMASS file's rows as tables of bounded size, not standardised.

    The mass is rounded to a whole number: the files hold values such as 499.999969.

    Parameters
    ----------
    which
        `1000`, `not1000` or `all`: the set that the file belongs to. It says whether there is
        a mass, and is checked against the header and the masses.

    Raises
    ------
    DataError
        If the file is not in the published format.
    """
    file = Path(path)
    if which not in SETS:
        raise DataError(f"{which!r} is no HEPMASS set; there are {', '.join(SETS)}")
    columns = FEATURES if which == "1000" else (*FEATURES, "mass")
    try:
        names = read_header(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    if names != ("label", *columns):
        raise DataError(
            f"{file}:1: not the header of HEPMASS {which}, which is '# label,f0,...,"
            f"{columns[-1]}'; give the published file, or the set it belongs to"
        )
    for table in iterate_csv(file, _Choice(columns), max_rows):
        yield table if which == "1000" else _rounded(file, table, which)


def _rounded(file: Path, table: Table, which: str) -> Table:
    x = table.x
    np.rint(x[:, -1], out=x[:, -1])
    if which == "not1000" and (x[:, -1] == 1000).any():
        raise DataError(f"{file}: holds the mass 1000, so it is not of the set not1000; say 'all'")
    return replace(table, x=x)


def read_hepmass(path: str | PathLike[str], which: str, max_rows: int | None = None) -> Table:
    """Read a HEPMASS file into one table; otherwise as `iterate_hepmass`."""
    return concatenate(list(iterate_hepmass(path, which, max_rows)))
