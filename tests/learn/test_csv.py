from __future__ import annotations

import csv
import gzip
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from choices import Data
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import DataError
from learnae.learn import csvtext
from learnae.learn.tabular import Table, iterate_table, read_table

DATA = Data()
GOOD = "a,b,kind\n1,2,g\n3,4,h\n"


def write(folder: Path, text: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def error_of(path: Path, data: Data = DATA) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, data)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 400
    assert line.startswith(str(path))
    return line.removeprefix(str(path))


def check_good(table: Table) -> None:
    np.testing.assert_array_equal(table.x, np.array([[1, 2], [3, 4]], np.float32))
    np.testing.assert_array_equal(table.y, np.array([0, 1], np.int32))
    assert table.x.dtype == np.float32 and table.y is not None and table.y.dtype == np.int32
    assert table.columns == ("a", "b") and table.classes == ("g", "h") and len(table) == 2


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", " , "),
        "\n" + GOOD.replace("\n3", "\n\n3") + "\n\n",
        GOOD.rstrip("\n"),
        '"a","b","kind"\n"1","2","g"\n3,4,"h"\n',
        "# a,b,kind\n1e0,+2.0,g\n3.0000,4,h\n",
    ],
)
def test_reads_what_people_write(tmp_path: Path, text: str) -> None:
    check_good(read_table(write(tmp_path, text), Data()))


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    check_good(read_table(write(tmp_path, gzip.compress(GOOD.encode()), "mine.csv"), Data()))


def test_columns_are_taken_in_the_charters_order(tmp_path: Path) -> None:
    path = write(tmp_path, "id,b,kind,a,note\nx1,2,g,1,hello there\nx2,4,h,3,\n")
    check_good(read_table(path, Data(columns=("a", "b"))))


def test_classes_that_are_numbers_match_in_any_notation(tmp_path: Path) -> None:
    path = write(tmp_path, "kind,a\n1.000000000000000000e+00,5\n0,6\n-0.0,7\n")
    table = read_table(path, Data(classes=("0", "1")))
    assert table.y is not None and table.y.tolist() == [1, 0, 0]


def test_without_classes_the_label_is_a_number(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a,kind\n1,0.5\n2,-7\n"), Data(classes=()))
    assert table.y is not None and table.y.dtype == np.float32 and table.y.tolist() == [0.5, -7]


def test_without_label_there_is_no_y(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a,b\n1,2\n"), Data(label=None, classes=()))
    assert table.y is None and table.columns == ("a", "b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,kind\n1,2,g\n1,2,3,g\n", ":3: 4 columns, but the header (line 1) has 3"),
        ("a,b,kind\n1,2,g\n\n1,g\n", ":4: 2 columns, but the header (line 1) has 3"),
        ("a,b,kind\n1,two,g\n", ":2: column 'b' has 'two', which is not a number"),
        ("a;b;kind\n1;3,14;g\n", ":2: column 'b' has '3,14', which is not a number; write a deci"),
        ("a,b,kind\n1,1_000,g\n", ":2: column 'b' has '1_000', which is not a number"),
        ("a,b,kind\n1,,g\n", ":2: column 'b' is empty"),
        ("a,b,kind\n1, ,g\n", ":2: column 'b' is empty"),
        ("a,b,kind\n1,nan,g\n", ":2: column 'b' has 'nan', which is not finite"),
        ("a,b,kind\n1,NA,g\n", ":2: column 'b' has 'NA', which is not a number"),
        ("a,b,kind\n1,-inf,g\n", ":2: column 'b' has '-inf', which is not finite"),
        ("a,b,kind\n1,1e39,g\n", ":2: column 'b' has '1e39', which is not finite"),
        (
            "a,b,kind\n1,2,g\n1,2,q\n",
            ":3: label 'kind' is 'q', none of the charter's classes (g, h)",
        ),
        ("a,b,kind\n1,2,\n", ":2: label 'kind' is empty"),
        ("a,b,kind\n1,2," + "g" * 500 + "\n", ":2: label 'kind' is 'ggggg"),
        ("a,b,class\n1,2,g\n", ":1: no column 'kind' for the label; there are a, b, class"),
        ("a,a,kind\n1,2,g\n", ":1: the column name 'a' occurs twice"),
        ("kind\ng\n", ":1: no column besides the label"),
        ("1,2,3\n4,5,6\n", ":1: the first line holds numbers only, no column names"),
        ("", ": the file is empty"),
        ("\n\n", ": the file is empty"),
        ("a,b,kind\n", ": no rows below the header"),
        ("a,b,kind\n\n \n", ": no rows below the header"),
        (b"PK\x03\x04rest", ": a spreadsheet or ZIP file, not CSV"),
        (b"\x7fELF\0\0\0\n\0", ":"),
        (gzip.compress(GOOD.encode() * 9)[:-12], ": damaged or cut off gzip data"),
        (gzip.compress(GOOD.encode())[:12] + b"\xff" * 40, ": damaged or cut off gzip data"),
    ],
)
def test_a_mistake_is_one_line_with_place_and_cure(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    line = error_of(write(tmp_path, text))
    assert line.startswith(says), line


def test_a_column_that_the_charter_names_is_missing(tmp_path: Path) -> None:
    line = error_of(write(tmp_path, GOOD), Data(columns=("a", "c")))
    assert line.startswith(":1: no column 'c', which the charter's data.columns names; there are a")


def test_a_target_that_is_text(tmp_path: Path) -> None:
    line = error_of(write(tmp_path, GOOD), Data(classes=()))
    assert line.startswith(":2: label 'kind' has 'g', which is not a number")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "no such file" in error_of(tmp_path / "none.csv")
    assert "is a folder" in error_of(tmp_path)


def test_blocks_are_bounded_and_lines_counted_across_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csvtext, "BLOCK_NBYTES", 64)
    rows = [f"{i},{-i},{'gh'[i % 2]}\n" for i in range(100)]
    path = write(tmp_path, "a,b,kind\n" + "".join(rows))
    tables = list(iterate_table(path, Data()))
    assert len(tables) > 5 and max(map(len, tables)) < 20
    np.testing.assert_array_equal(read_table(path, Data()).x[:, 0], np.arange(100))
    np.testing.assert_array_equal(read_table(path, Data(), max_rows=33).x[:, 1], -np.arange(33))
    rows[70] = "70,oops,g\n"
    path = write(tmp_path, "a,b,kind\n\n" + "".join(rows))
    assert error_of(path).startswith(":73: column 'b' has 'oops'")


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows_of_text = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.tuples(st.lists(numbers, min_size=n, max_size=n), st.sampled_from(["g", "h", "a b"])),
        min_size=1,
        max_size=8,
    )
)


@given(rows_of_text, st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_agrees_with_pythons_csv_module(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], delimiter: str, newline: str
) -> None:
    n = len(rows[0][0])
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline)
    writer.writerow([*(f"x{i}" for i in range(n)), "kind"])
    writer.writerows([*map(repr, values), label] for values, label in rows)
    classes = ("h", "a b", "g")
    path = tmp_path_factory.getbasetemp() / "oracle.csv"
    path.write_text(text.getvalue(), newline="")
    table = read_table(path, Data(classes=classes))
    expected = list(csv.reader(io.StringIO(text.getvalue()), delimiter=delimiter))[1:]
    oracle = np.array([[float(cell) for cell in row[:-1]] for row in expected]).astype(np.float32)
    assert table.x.tobytes() == oracle.tobytes()
    assert table.y is not None
    assert [classes[code] for code in table.y] == [row[-1] for row in expected]


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_a_table_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.csv"
    path.write_bytes(b"a,b,kind\n" + data if headed else data)
    try:
        table = read_table(path, Data())
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert len(table) and np.isfinite(table.x).all()


@given(st.text(alphabet='0123456789.,-+eE"\n\r gh;_#na', max_size=80))
def test_nearly_numbers_give_a_table_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "nearly.csv"
    path.write_text("a,kind\n" + text, newline="")
    try:
        table = read_table(path, Data())
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert len(table) and np.isfinite(table.x).all()
        assert table.y is not None and table.y.min() >= 0


def test_data_modules_do_not_import_jax_or_pandas() -> None:
    modules = "batches, csvtext, hepmass, magic, models, npzfile, partition, tabular"
    code = (
        f"import sys; from learnae.learn import {modules};"
        "sys.exit(' '.join({'jax', 'optax', 'pandas'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
