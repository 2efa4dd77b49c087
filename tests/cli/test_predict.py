"""`learnae predict`: a trained model, from a peer's folder or a payload, applied to new rows."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from require import need

from learnae import kernels
from learnae.cli import main
from learnae.node.trainer import charter_model
from learnae.payload import Schema, flatten
from learnae.swarm.charter import (
    Charter,
    DataSection,
    ModelSection,
    TrainingSection,
    dump_charter,
)

CHARTER = Charter(
    name="ours",
    model=ModelSection("mlp", {"hidden": [5]}),
    data=DataSection(
        label="kind", columns=("a", "b"), classes=("red", "blue, pale"), mean=(1, 2), std=(3, 4)
    ),
    training=TrainingSection(rounds=3, steps=2, batch=4),
)
X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    try:
        import jax  # noqa: F401
    except ImportError:
        need(False, "jax is not installed")


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def write_rows(path: Path, *, label: bool) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["b", "other", "a", *(["kind"] if label else [])])
        for i, (a, b) in enumerate(X.tolist()):
            name = CHARTER.data.classes[i % 2]
            writer.writerow([b, "text", a, *([name] if label else [])])
    return path


def write_payload(folder: Path, charter: Charter = CHARTER, codec: str = "f32") -> Path:
    """Write the charter, and its first params as a payload beside it."""
    (folder / "swarm.toml").write_text(dump_charter(charter))
    params = charter_model(charter, folder).init(charter.seed)
    schema = Schema.of(params)
    plain = kernels.PACKED.get(codec, codec)
    payload = kernels.payload_write(plain, schema.digest, [flatten(schema, params)])
    if plain != codec:
        payload = kernels.payload_pack(kernels.payload_open(payload, schema.n_elements))
    (folder / "model.payload").write_bytes(payload)
    return folder / "model.payload"


def expected() -> Any:
    """The mlp with the charter's first params, by NumPy."""
    layers = charter_model(CHARTER, Path()).init(CHARTER.seed)
    h = (X - np.array([1, 2])) / np.array([3, 4])
    h = np.maximum(h @ layers[0]["w"] + layers[0]["b"], 0) @ layers[1]["w"] + layers[1]["b"]
    e = np.exp(h - h.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("codec", ["f32", "i8z"])
def test_a_payload_as_csv(tmp_path: Path, codec: str) -> None:
    payload, data = (
        write_payload(tmp_path, codec=codec),
        write_rows(tmp_path / "x.csv", label=False),
    )
    result = predict(payload, data)
    assert result.exit_code == 0, result.output
    header, *rows = csv.reader(result.stdout.splitlines())
    assert header == ["prediction", "p(red)", "p(blue, pale)"] and len(rows) == len(X)
    found, exact = np.array([row[1:] for row in rows], float), expected()
    np.testing.assert_allclose(found, exact, atol=1e-5 if codec == "f32" else 2e-2)
    assert [row[0] for row in rows] == [CHARTER.data.classes[i] for i in found.argmax(axis=1)]


def test_json_and_a_file_and_a_label_that_does_not_matter(tmp_path: Path) -> None:
    payload, data = write_payload(tmp_path), write_rows(tmp_path / "x.csv", label=True)
    out = tmp_path / "out.json"
    result = predict(payload, data, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: predictions for 40 rows of {data}\n"
    document = json.loads(out.read_text())
    assert (document["n"], document["round"], document["data"]) == (40, None, str(data))
    for row, exact in zip(document["predictions"], expected(), strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(exact.tolist(), abs=1e-5)
        assert row["class"] == CHARTER.data.classes[exact.argmax()]
    again = predict(payload, data, "--out", out)
    assert again.exit_code == 1 and "--force" in again.stderr
    assert predict(payload, data, "--out", out, "--force").exit_code == 0
    assert out.read_text().startswith("prediction,")


def test_npz_without_labels(tmp_path: Path) -> None:
    payload = write_payload(tmp_path)
    np.savez(tmp_path / "x.npz", x=X)
    rows = json.loads(predict(payload, tmp_path / "x.npz", "--json").stdout)["predictions"]
    found = [list(row["probabilities"].values()) for row in rows]
    np.testing.assert_allclose(found, expected(), atol=1e-5)


def test_a_charter_that_names_no_columns_takes_all_but_the_label(tmp_path: Path) -> None:
    section = DataSection(label="kind", classes=("p", "q"), mean=(1, 2), std=(3, 4))
    charter = Charter(name="x", model=ModelSection("mlp", {"features": 2}), data=section)
    payload = write_payload(tmp_path, charter)
    with_label, without = tmp_path / "with.csv", tmp_path / "without.csv"
    with_label.write_text("a,kind,b\n1,p,2\n3,q,4\n")
    without.write_text("a,b\n1,2\n3,4\n")
    results = [predict(payload, data) for data in (with_label, without)]
    assert results[0].exit_code == 0, results[0].output
    assert results[0].stdout == results[1].stdout


def test_a_peers_model_is_as_good_as_evaluate_says(tmp_path: Path) -> None:
    (tmp_path / "swarm.toml").write_text(dump_charter(CHARTER))
    data, home = write_rows(tmp_path / "mine.csv", label=True), tmp_path / "home"
    join = [*("join", tmp_path / "swarm.toml", "--data", data, "--home", home, "--linger", 0)]
    join += ["--transport", f"directory:{tmp_path / 'shared'}", "--cache", tmp_path / "cache"]
    command = [sys.executable, "-m", "learnae", *map(str, join)]
    joined = subprocess.run(command, capture_output=True, text=True)
    assert joined.returncode == 0, joined.stderr
    document = json.loads(predict(home, data, "--json").stdout)
    assert document["round"] == 3
    right = [
        row["class"] == CHARTER.data.classes[i % 2] for i, row in enumerate(document["predictions"])
    ]
    measured = CliRunner().invoke(
        main, ["evaluate", str(home), "--data", str(data), "--cache", str(tmp_path / "c"), "--json"]
    )
    (model,) = json.loads(measured.stdout)["models"]
    assert np.mean(right) == pytest.approx(model["accuracy"])


def test_without_the_charters_statistics_it_says_whose_are_used(tmp_path: Path) -> None:
    charter = replace(CHARTER, data=replace(CHARTER.data, mean=None, std=None))
    result = predict(write_payload(tmp_path, charter), write_rows(tmp_path / "x.csv", label=False))
    assert result.exit_code == 0
    assert "mean and deviation of these 40 rows, not of training" in result.stderr
    assert result.stderr.startswith("warning: ") and result.stderr.count("\n") == 1


def test_one_row_has_no_statistics_of_its_own(tmp_path: Path) -> None:
    charter = replace(CHARTER, data=replace(CHARTER.data, mean=None, std=None))
    (tmp_path / "one.csv").write_text("a,b\n1,2\n")
    result = predict(write_payload(tmp_path, charter), tmp_path / "one.csv")
    assert result.exit_code == 1 and "give more rows at once" in result.stderr


FACTORY = """
import numpy as np
def make(predict="good"):
    def init(seed):
        return {"w": np.array([2, 3], np.float32)}
    def loss(params, batch):
        return params["w"].sum()
    told = {
        "good": lambda params, x: x @ params["w"],
        "column": lambda params, x: (x @ params["w"])[:, None],
        "rows": lambda params, x: params["w"],
        "nan": lambda params, x: x[:, 0] / np.float32(0) * 0,
        "raises": lambda params, x: x @ params["v"],
    }
    return (init, loss, None, told[predict]) if predict else (init, loss)
"""


def own(folder: Path, predict: str, classes: tuple[str, ...] = ()) -> Path:
    (folder / "model.py").write_text(FACTORY)
    data = DataSection(label="kind", columns=("a", "b"), classes=classes, mean=(0, 0), std=(1, 1))
    model = ModelSection("model.py:make", {"predict": predict})
    return write_payload(folder, Charter(name="own", model=model, data=data))


@pytest.mark.parametrize("kind", ["good", "column"])
def test_a_number_to_predict(tmp_path: Path, kind: str) -> None:
    payload, data = own(tmp_path, kind), write_rows(tmp_path / "x.csv", label=False)
    header, *lines = predict(payload, data).stdout.splitlines()
    assert header == "prediction"
    np.testing.assert_allclose(np.array(lines, float), X @ [2, 3], rtol=1e-5, atol=1e-6)
    rows = json.loads(predict(payload, data, "--json").stdout)["predictions"]
    np.testing.assert_allclose([row["value"] for row in rows], X @ [2, 3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "classes", "says"),
    [
        ("", (), "model.py: there is no predict to ask; return (init, loss, metrics, predict)"),
        ("rows", (), "predict gave shape (2,), not (40,): numbers [rows]"),
        ("nan", (), "predict gave NaN"),
        ("raises", (), "model.py:13: predict(params, x) raised KeyError"),
        ("good", ("p", "q"), "predict gave shape (40,), not (40, 2): probabilities"),
    ],
)
@pytest.mark.filterwarnings("ignore:(divide|invalid)")
def test_a_model_that_cannot_tell(
    tmp_path: Path, kind: str, classes: tuple[str, ...], says: str
) -> None:
    result = predict(own(tmp_path, kind, classes), write_rows(tmp_path / "x.csv", label=False))
    assert result.exit_code == 1
    assert says in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("scores", ["x", "np.array([[2, -1]] * len(x))"])
def test_scores_that_are_no_probabilities(tmp_path: Path, scores: str) -> None:
    text = FACTORY.replace(
        '"good": lambda params, x: x @ params["w"]', f'"good": lambda params, x: {scores}'
    )
    payload = own(tmp_path, "good", ("p", "q"))
    (tmp_path / "model.py").write_text(text)
    result = predict(payload, write_rows(tmp_path / "x.csv", label=False))
    assert result.exit_code == 1 and "add up to 1: probabilities" in result.stderr


def test_what_is_no_model(tmp_path: Path) -> None:
    payload, data = write_payload(tmp_path), write_rows(tmp_path / "x.csv", label=False)
    other = replace(CHARTER, model=ModelSection("mlp", {"hidden": [7]}))
    (tmp_path / "other.toml").write_text(dump_charter(other))
    (tmp_path / "empty").mkdir()
    (tmp_path / "short.csv").write_text("a\n1\n")
    damaged = bytearray(payload.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    base = kernels.payload_open(payload.read_bytes(), 1000)
    vector = kernels.payload_decode(base, 0)
    cid = bytes([1, 0x55, 0x12, 0x20]) + bytes(32)
    digest = base.schema_digest
    (tmp_path / "difference").write_bytes(
        kernels.payload_write("i8", digest, [vector], base=base, base_cid=cid)
    )
    mistakes: list[tuple[list[object], int, str]] = [
        ([tmp_path / "none", data], 1, "none does not exist: give a peer's folder, or a payload"),
        ([tmp_path / "empty", data, "--charter", tmp_path / "swarm.toml"], 1, "no checkpoint"),
        ([data, data], 4, "x.csv: not a learnae payload"),
        ([tmp_path / "damaged", data], 4, "damaged: "),
        ([tmp_path / "difference", data], 4, "is a difference to another payload"),
        ([payload, data, "--charter", tmp_path / "other.toml"], 1, "params of other shapes"),
        ([payload, tmp_path / "none.csv"], 1, "none.csv: no such file"),
        ([payload, tmp_path / "short.csv"], 1, "no column 'b'"),
        ([payload, data, "--out", tmp_path / "no" / "out.csv"], 1, "cannot write"),
    ]
    for arguments, code, says in mistakes:
        result = predict(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert says in result.stderr
