"""`learnae create`: from a data file to a charter."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from learnae.cli import main
from learnae.cli.demo import command as demo
from learnae.swarm.charter import CODECS, Charter, parse_charter

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
    assert "rounds take" not in result.output


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
    (tmp_path / "mine.py").touch()
    result = create(
        out, "--data", data, "--label", "y", "--numeric-label", "--factory", "mine.py:make"
    )
    assert result.exit_code == 0, result.output
    assert written(out).data.classes == ()
    assert written(out).model.factory == "mine.py:make"


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
