"""`learnae create`: from a data file to a charter."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from learnae.cli import main
from learnae.cli.demo import command as demo
from learnae.cli.doubts import Doubts
from learnae.learn.tabular import Table
from learnae.swarm.charter import CODECS, Charter, parse_charter

FACTORY = """import numpy as np
def make(width, more=None):
    def init(seed):
        return {"w": np.ones(width, np.float32)} if width else {}
    return init, lambda params, batch: 0.0
"""
ROWS = "a,b,kind\n1,10,red\n2,20,blue\n3,60,red\n"


def create(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["create", *map(str, arguments)])


def written(path: Path) -> Charter:
    return parse_charter(path.read_bytes())


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(ROWS)
    return path


def test_charter_holds_columns_classes_and_statistics(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "swarm.toml"
    result = create(out, "--data", rows, "--label", "kind", "--rounds", 7, "--codec", "f16")
    assert result.exit_code == 0, result.output
    charter = written(out)
    assert charter.name == "swarm"
    assert charter.data.columns == ("a", "b")
    assert charter.data.classes == ("blue", "red")
    assert charter.data.mean == pytest.approx((2, 30))
    assert charter.data.std == pytest.approx((np.std([1, 2, 3]), np.std([10, 20, 60])))
    assert charter.training.rounds == 7
    assert charter.gossip.codec == "f16"
    assert "4 numbers" in result.output and "can read them" in result.output


def test_rounds_last_long_enough_for_others_to_join(rows: Path, tmp_path: Path) -> None:
    result = create(tmp_path / "swarm.toml", "--data", rows, "--label", "kind")
    assert written(tmp_path / "swarm.toml").training.min_seconds == 0.5
    assert "At least 2 min for 250 rounds: others should join within that time\n" in result.output
    result = create(tmp_path / "quick.toml", "--data", rows, "--label", "kind", "--min-seconds", 0)
    assert written(tmp_path / "quick.toml").training.min_seconds == 0
    assert "At least" not in result.output


def test_no_statistics_publishes_none(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "swarm.toml"
    result = create(out, "--data", rows, "--label", "kind", "--no-statistics")
    assert result.exit_code == 0, result.output
    assert written(out).data.mean is None
    assert written(out).data.std is None
    assert "holds no statistics" in result.output


def test_an_existing_file_is_left_as_it_is(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "swarm.toml"
    out.write_text("precious")
    result = create(out, "--data", rows, "--label", "kind")
    assert result.exit_code == 1
    assert out.read_text() == "precious"


def test_two_swarms_of_the_same_file_differ(rows: Path, tmp_path: Path) -> None:
    for name in ("one.toml", "two.toml"):
        create(tmp_path / name, "--data", rows, "--label", "kind", "--name", "same")
    ids = {written(tmp_path / name).swarm_id for name in ("one.toml", "two.toml")}
    assert len(ids) == 2


def test_gzip_semicolons_and_numeric_classes(tmp_path: Path) -> None:
    data = tmp_path / "mine.csv.gz"
    data.write_bytes(gzip.compress(b"label;x\n10;1\n2;2\n2.0;3\n"))
    out = tmp_path / "swarm.toml"
    result = create(out, "--data", data, "--label", "label")
    assert result.exit_code == 0, result.output
    assert written(out).data.classes == ("2", "10")
    assert written(out).data.columns == ("x",)


@pytest.mark.parametrize("named", [True, False])
def test_npz_matrix(tmp_path: Path, named: bool) -> None:
    arrays = {"x": np.eye(3, 2, dtype=np.float32), "y": np.array([0, 1, 1])}
    if named:
        arrays |= {"columns": np.array(["u", "v"]), "classes": np.array(["no", "yes"])}
    np.savez(tmp_path / "mine.npz", **arrays)
    out = tmp_path / "swarm.toml"
    result = create(out, "--data", tmp_path / "mine.npz", "--label", "y")
    assert result.exit_code == 0, result.output
    assert written(out).data.columns == (("u", "v") if named else ("x0", "x1"))
    assert written(out).data.classes == (("no", "yes") if named else ("0", "1"))


def test_npz_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", p=np.arange(4.0), q=np.ones(4), kind=np.array([*"abab"]))
    out = tmp_path / "swarm.toml"
    result = create(out, "--data", tmp_path / "mine.npz", "--label", "kind")
    assert result.exit_code == 0, result.output
    assert written(out).data.columns == ("p", "q")
    assert written(out).data.classes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,kind\n", "no row below the header"),
        ("a,b,kind\n1,10,red\n", "--classes"),
        ("a,b,kind\n1,x,red\n2,3,blue\n", "'b'"),
        ("a,b,kind\n1,2,\n2,3,blue\n", "empty"),
        ("a,b,type\n1,2,red\n2,3,blue\n", "'kind'"),
        ("", "empty"),
    ],
)
def test_data_that_will_not_do(tmp_path: Path, text: str, says: str) -> None:
    data = tmp_path / "mine.csv"
    data.write_text(text)
    result = create(tmp_path / "swarm.toml", "--data", data, "--label", "kind")
    assert result.exit_code == 1, result.output
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "swarm.toml").exists()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--rounds", 0, "training.rounds"),
        ("--factory", "/etc/model.py:make", "model.factory"),
        ("--member", "somebody", "members"),
        ("--fan-in", 1000, "gossip.fan_in"),
    ],
)
def test_what_the_charter_does_not_allow(
    rows: Path, tmp_path: Path, option: str, value: object, says: str
) -> None:
    result = create(tmp_path / "swarm.toml", "--data", rows, "--label", "kind", option, value)
    assert result.exit_code == 1, result.output
    assert says in result.stderr


def test_own_factory_with_a_number_to_predict(tmp_path: Path) -> None:
    data = tmp_path / "mine.csv"
    data.write_text("a,y\n1,0.5\n2,0.7\n")
    out = tmp_path / "swarm.toml"
    (tmp_path / "mine.py").write_text(FACTORY)
    result = create(
        *(out, "--data", data, "--label", "y", "--numeric-label", "--factory", "mine.py:make"),
        *("--option", "width=3"),
    )
    assert result.exit_code == 0, result.output
    assert written(out).data.classes == ()
    assert written(out).model.factory == "mine.py:make"


@pytest.mark.parametrize(
    ("written_as", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("[64, 32]", (64, 32)),
        ('"tanh"', "tanh"),
        ("'a,b'", "a,b"),
    ],
)
def test_options_of_a_factory(rows: Path, tmp_path: Path, written_as: str, value: object) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    out = tmp_path / "swarm.toml"
    options = ["--factory", "mine.py:make", "--option", f"more={written_as}", "--option", "width=2"]
    result = create(out, "--data", rows, "--label", "kind", *options)
    assert result.exit_code == 0, result.output
    assert written(out).model.options == {"more": value, "width": 2}


def test_an_option_of_the_mlp(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "swarm.toml"
    assert create(out, "--data", rows, "--label", "kind", "--option", "hidden=[5]").exit_code == 0
    assert written(out).model.options == {"hidden": (5,)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["width"], "name=value"),
        (["=3"], "name=value"),
        (["width="], "no TOML value"),
        (["width=wide"], "--option 'width=\"wide\"'"),
        (["width=1, 2"], "no TOML value"),
        (["width=1]\nfactory = ['x'"], "no TOML value"),
        (["width=1", "width=2"], "width is given twice"),
    ],
)
def test_options_that_are_mistyped(
    rows: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    given = [part for option in options for part in ("--option", option)]
    result = create(tmp_path / "swarm.toml", "--data", rows, "--label", "kind", *given)
    assert result.exit_code == 2
    assert says in result.stderr and result.stderr.count("\n") == 2
    assert not (tmp_path / "swarm.toml").exists()


@pytest.mark.parametrize(
    ("text", "option", "says"),
    [
        (FACTORY, "width=0", "mine.py: init() returned no floating-point array"),
        (FACTORY, "depth=1", "mine.py:2: make() does not fit the charter's model.options"),
        ("def make():\n    raise OSError('no weights')\n", "", "mine.py:2: make() raised OSError"),
        ("import nothing_of_this_name\n", "", "mine.py:1: importing the file raised"),
        ("def made():\n    pass\n", "", "did you mean 'made'?"),
    ],
)
def test_a_factory_that_will_not_do_is_noticed_at_once(
    rows: Path, tmp_path: Path, text: str, option: str, says: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    out = tmp_path / "swarm.toml"
    options = ["--option", option] if option else []
    result = create(out, "--data", rows, "--label", "kind", "--factory", "mine.py:make", *options)
    assert result.exit_code == 1
    assert says in result.stderr and result.stderr.count("\n") == 1
    assert not out.exists() and not out.with_suffix(".key").exists()


def test_without_jax_a_factory_is_not_tried(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("import jax\n")
    monkeypatch.setattr("learnae.cli.create.find_spec", lambda name: None)
    out = tmp_path / "swarm.toml"
    result = create(out, "--data", rows, "--label", "kind", "--factory", "mine.py:make")
    assert result.exit_code == 0
    assert result.stderr == "warning: mine.py:make was not tried, as JAX is not installed here\n"
    assert written(out).model.factory == "mine.py:make"


def doubted(tmp_path: Path, text: str, *more: object) -> list[str]:
    """Return what is said of a file; the charter is written all the same."""
    data, out = tmp_path / "mine.csv", tmp_path / "swarm.toml"
    data.write_text(text)
    result = create(out, "--data", data, "--label", "kind", *more)
    assert result.exit_code == 0, result.output
    assert out.exists()
    return result.stderr.splitlines()


def test_columns_that_teach_nothing_are_named(tmp_path: Path) -> None:
    lines = [f"{2 * i},{-i},{i * i % 7},{0.5 * i},1.5,{'ab'[i % 2]}" for i in range(12)]
    text = "\n".join(["id,down,a,half,flat,kind", *lines])
    assert doubted(tmp_path, text) == [
        "warning: column 'flat': the same in every row; --columns names those to learn from",
        "warning: columns 'id', 'down': whole numbers in order, as ids are; "
        "--columns names those to learn from",
    ]
    (tmp_path / "swarm.toml").unlink()
    (tmp_path / "swarm.key").unlink()
    assert doubted(tmp_path, text, "--columns", "a,half") == []


def test_many_such_columns_are_one_line(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(30)]
    text = "\n".join([",".join([*names, "kind"]), "1," * 30 + "a", "1," * 30 + "b"])
    (line,) = doubted(tmp_path, text)
    assert line.startswith("warning: columns 'c0', 'c1', ") and "'c7' and 22 more: the same" in line


def test_few_rows_are_in_order_by_chance(tmp_path: Path) -> None:
    text = "\n".join(["a,kind", *(f"{i},{'xy'[i % 2]}" for i in range(9))])
    assert doubted(tmp_path, text) == []


def test_doubts_hold_across_the_blocks_of_a_file() -> None:
    def block(*x: float) -> Table:
        y = np.arange(len(x), dtype=np.int32) % 2
        return Table(np.array(x, np.float32).reshape(-1, 1), y, ("a",), ("p", "q"))

    rising, broken, flat = Doubts("kind"), Doubts("kind"), Doubts("kind")
    assert len(list(rising.look_at([block(*range(6)), block(), block(*range(6, 12))]))) == 3
    list(broken.look_at([block(*range(6)), block(*range(5, 11))]))
    list(flat.look_at([block(3, 3), block(3, 4)]))
    assert rising.lines() == [
        "column 'a': whole numbers in order, as ids are; --columns names those to learn from"
    ]
    assert broken.lines() == flat.lines() == []


def test_numbers_too_large_for_float32(tmp_path: Path) -> None:
    text = "\n".join(
        ["id,time,kind", *(f"{20240001 + i},{1700000000 + i},{'ab'[i % 2]}" for i in range(12))]
    )
    assert doubted(tmp_path, text) == [
        "warning: column 'time': the same in every row as float32, which has 24 bits; subtract an "
        "offset, or leave it out: --columns names those to learn from",
        "warning: column 'id': whole numbers in order, as ids are; "
        "--columns names those to learn from",
    ]


def test_an_option_is_given_once(rows: Path, tmp_path: Path) -> None:
    out, option = tmp_path / "swarm.toml", ["--option", "hidden=[3]"]
    result = create(out, "--data", rows, "--label", "kind", "--hidden", 4, *option)
    assert result.exit_code == 2 and "--hidden and --option hidden" in result.stderr
    result = create(out, "--data", rows, "--label", "kind", *option)
    assert result.exit_code == 0, result.output
    assert list(written(out).model.options["hidden"]) == [3]


def test_a_label_that_is_a_name(tmp_path: Path) -> None:
    lines = [f"{i * i % 7},patient-{i}" for i in range(12)]
    (line,) = doubted(tmp_path, "\n".join(["a,kind", *lines]))
    assert line == "warning: label 'kind': another in every row, as ids are"


def test_a_number_to_predict_that_is_the_same_everywhere(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FACTORY)
    options = ["--numeric-label", "--factory", "mine.py:make", "--option", "width=1"]
    (line,) = doubted(tmp_path, "a,kind\n1,2\n3,2\n", *options)
    assert line == "warning: label 'kind': the same in every row"


def test_a_model_file_that_is_not_beside_the_charter(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "swarm.toml"
    result = create(out, "--data", rows, "--label", "kind", "--factory", "mine.py:make")
    assert result.exit_code == 1
    assert f"mine.py is not beside {out}: put it into {tmp_path} first" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


def test_every_codec_can_be_chosen(rows: Path, tmp_path: Path) -> None:
    for codec in CODECS:
        out = tmp_path / f"{codec}.toml"
        result = create(out, "--data", rows, "--label", "kind", "--codec", codec)
        assert result.exit_code == 0, result.output
        assert written(out).gossip.codec == codec
    assert written(tmp_path / "delta.toml").gossip.key_codec == "f32"
    (choice,) = [p.type for p in demo.params if p.name == "codec"]
    assert tuple(choice.choices) == CODECS
