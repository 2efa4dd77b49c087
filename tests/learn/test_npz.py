from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from choices import Data

from learnae.errors import DataError
from learnae.learn.tabular import Table, read_table, write_npz

X = np.array([[1, 2], [3, 4]], np.float32)
NAMED = Data(columns=("a", "b"))


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def error_of(path: Path, data: Data = NAMED) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, data)
    line = str(caught.value)
    assert "\n" not in line and line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": X, "y": np.array(["g", "h"])},
        {"x": X.astype(np.float64), "y": np.array([b"g", b"h"])},
        {"x": X[:, ::-1], "y": np.array(["g", "h"]), "columns": np.array(["b", "a"])},
        {"x": X.astype(np.int16), "y": np.array([1, 0]), "classes": np.array(["h", "g"])},
        {"a": X[:, 0], "b": X[:, 1], "kind": np.array(["g", "h"]), "other": np.array([7, 8])},
    ],
)
def test_both_forms(tmp_path: Path, arrays: dict[str, Any]) -> None:
    table = read_table(save(tmp_path, **arrays), NAMED)
    np.testing.assert_array_equal(table.x, X)
    assert table.x.dtype == np.float32 and table.x.flags.c_contiguous
    assert table.y is not None and table.y.dtype == np.int32 and table.y.tolist() == [0, 1]
    assert table.columns == ("a", "b")


def test_number_classes(tmp_path: Path) -> None:
    data = Data(columns=("a", "b"), classes=("3", "10"))
    table = read_table(save(tmp_path, x=X, y=np.array([10, 3])), data)
    assert table.y is not None and table.y.tolist() == [1, 0]


def test_written_tables_come_back(tmp_path: Path) -> None:
    table = Table(X, np.array([1, 0], np.int32), ("a", "b"), ("g", "h"))
    write_npz(tmp_path / "t.npz", table)
    back = read_table(tmp_path / "t.npz", NAMED)
    np.testing.assert_array_equal(back.x, table.x)
    np.testing.assert_array_equal(back.y, table.y)
    assert (back.columns, back.classes) == (table.columns, table.classes)
    assert len(read_table(tmp_path / "t.npz", NAMED, max_rows=1)) == 1


LABELS = np.array(["g", "h"])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": X.astype(str), "y": LABELS}, "array 'x' has dtype <U32, but numbers are needed"),
        ({"x": X.astype(complex), "y": LABELS}, "array 'x' has dtype complex128"),
        ({"x": X.astype(object), "y": LABELS}, "holds Python objects (dtype object)"),
        ({"x": X, "z": LABELS}, "no array 'y' for the label 'kind'; there are x, z"),
        ({"x": X, "y": LABELS[:1]}, "array 'y' has shape (1,), but 'x' has 2 rows"),
        ({"x": X[:, :1], "y": LABELS}, "array 'x' has 1 column, but there are 2 names"),
        ({"x": X, "y": np.array(["g", "q"])}, "label 'q' in row 1 (from 0) is none of the"),
        ({"x": X, "y": np.array([0, 1])}, "label '0' in row 0 (from 0) is none of the"),
        ({"x": X, "y": np.array([0, 9]), "classes": LABELS}, "label '9' in row 1"),
        ({"x": X * [[1, 1], [np.nan, 1]], "y": LABELS}, "array 'x' has a NaN or infinity in row 1"),
        (
            {"x": X.astype(np.float64) * 1e39, "y": LABELS},
            "array 'x' has a NaN or infinity in row 0",
        ),
        ({"x": X[:0], "y": LABELS[:0]}, "no rows"),
        ({}, "the file is empty"),
        ({"a": X[:, 0], "kind": LABELS}, "no column 'b', which the charter's data.columns names"),
        ({"a": X[:, 0], "b": X[:, 1]}, "no column 'kind' for the label; there are a, b"),
        ({"a": X[:1, 0], "b": X[:, 1], "kind": LABELS}, "columns must be arrays of one length"),
        ({"a": X[:, 0], "b": LABELS, "kind": LABELS}, "array 'b' has dtype <U1"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    line = error_of(save(tmp_path, **arrays))
    assert line.startswith(says), line


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no archive at all", b"\x93NUMPY"])
def test_not_an_npz(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(data)
    assert "numpy.savez" in error_of(path)


def test_a_bare_array(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with path.open("wb") as out:
        np.save(out, X)
    assert "a single array" in error_of(path)


def test_damage_anywhere_is_one_line_or_a_table(tmp_path: Path) -> None:
    path = save(tmp_path, x=X, y=LABELS)
    good = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(200):
        bad = bytearray(good)
        bad[random.integers(len(bad))] ^= int(random.integers(1, 256))
        path.write_bytes(bad[: random.integers(len(bad) + 1)])
        try:
            read_table(path, NAMED)
        except DataError as error:
            assert "\n" not in str(error)
