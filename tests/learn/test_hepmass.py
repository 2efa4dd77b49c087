"""The format is that of the published files; the rows here are made up."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from learnae.errors import DataError
from learnae.learn.hepmass import FEATURES, read_hepmass

MASSES = [499.999969, 750.0, 1000.0, 1249.999939, 1500.0]


def write(folder: Path, which: str, masses: list[float], packed: bool = True) -> Path:
    random = np.random.default_rng(0)
    names = ["# label", *FEATURES] + (["mass"] if which != "1000" else [])
    lines = [",".join(names)]
    for i, mass in enumerate(masses):
        row = [float(i % 2), *random.standard_normal(27)] + ([mass] if which != "1000" else [])
        lines.append(",".join(f"{value:.18e}" for value in row))
    text = ("\n".join(lines) + "\n").encode()
    path = folder / f"{which}_train.csv{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_all_with_masses_rounded(tmp_path: Path, packed: bool) -> None:
    table = read_hepmass(write(tmp_path, "all", MASSES, packed), "all")
    assert table.columns == (*FEATURES, "mass") and table.classes == ("0", "1")
    assert table.x[:, -1].tolist() == [500, 750, 1000, 1250, 1500]
    assert table.y is not None and table.y.tolist() == [0, 1, 0, 1, 0]
    expected = np.random.default_rng(0).standard_normal((5, 27)).astype(np.float32)
    np.testing.assert_array_equal(table.x[:, :-1], expected)


def test_1000_has_no_mass(tmp_path: Path) -> None:
    table = read_hepmass(write(tmp_path, "1000", MASSES), "1000", max_rows=3)
    assert table.columns == FEATURES and len(table) == 3


def test_not1000(tmp_path: Path) -> None:
    masses = [mass for mass in MASSES if mass != 1000]
    assert len(read_hepmass(write(tmp_path, "not1000", masses), "not1000")) == 4
    with pytest.raises(DataError, match="holds the mass 1000"):
        read_hepmass(write(tmp_path, "not1000", MASSES), "not1000")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "1000", MASSES)
    for which, says in [("all", "not the header of HEPMASS all"), ("some", "is no HEPMASS set")]:
        with pytest.raises(DataError, match=says) as caught:
            read_hepmass(path, which)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        read_hepmass(tmp_path / "none.csv.gz", "all")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="damaged or cut off"):
        read_hepmass(path, "1000")
