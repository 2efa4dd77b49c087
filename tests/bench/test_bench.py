"""The command itself, with sizes that take no time; what it measured is nobody's business here."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from learnae import kernels
from learnae.bench import bandwidth
from learnae.bench.__main__ import main
from learnae.bench.cases import KERNELS, Inputs, Kernel
from learnae.bench.choice import Choice, default_sizes
from learnae.bench.choice import run as choice_run
from learnae.bench.groups import Bench, Group
from learnae.bench.machine import describe_machine
from learnae.bench.plot import check
from learnae.bench.report import Row
from learnae.bench.rivals import Rival, installed, rivals_of
from learnae.bench.table import markdown

ROW = {
    **{"kernel": str, "codec": str, "n": int, "k": int, "isa": str, "threads": int},
    **{"seconds": float, "gb_per_s": float, "floor_fraction": float, "error": (float, type(None))},
    **{"rivals": dict, "versions": dict, "ratio": (float, type(None))},
}


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stream over little memory: these tests are about form."""
    monkeypatch.setattr(bandwidth, "_SAMPLE_NBYTES", 2**20)
    monkeypatch.setattr(bandwidth, "dram_nbytes", lambda machine: 2**23)
    monkeypatch.setattr("learnae.bench.choice._QUICK_S", 0.0)


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(main, ["--quick", *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_json_is_one_object_of_the_documented_form() -> None:
    found = json.loads(run("--json", "--n", "1000", "--threads", "1", "--threads", "2").stdout)
    assert set(found) == {"machine", "bandwidth", "rows"}
    assert found["machine"]["cpu"] and found["machine"]["isas"] == list(kernels.isas())
    assert {(b["level"], b["threads"]) for b in found["bandwidth"]} == {
        (level, threads) for level in ("L2", "L3", "DRAM") for threads in (1, 2)
    }
    for row in found["rows"]:
        assert set(row) == set(ROW)
        assert all(isinstance(row[name], kind) for name, kind in ROW.items()), row
        assert row["seconds"] > 0 and row["gb_per_s"] > 0 and row["floor_fraction"] > 0
        assert row["versions"]["numpy"] == np.__version__
    expected = {
        (k.name, codec, threads) for k in KERNELS for codec in k.codecs for threads in (1, 2)
    }
    rows = {(row["kernel"], row["codec"], row["threads"]) for row in found["rows"]}
    assert rows == expected and len(found["rows"]) == len(expected)


def test_every_instruction_set_and_count_that_is_asked_for() -> None:
    isas = [argument for isa in kernels.isas() for argument in ("--isa", isa)]
    wanted = ["--kernel", "average", "--n", "500", "--k", "2", "--k", "5", "--threads", "1"]
    rows = json.loads(run("--json", *wanted, *isas).stdout)["rows"]
    assert {(r["k"], r["isa"]) for r in rows} == {
        (k, isa) for k in (2, 5) for isa in kernels.isas()
    }
    assert all(set(row["rivals"]) == {"numpy"} for row in rows)
    # Nothing is left changed.
    assert kernels.isa() == kernels.isas()[0] and kernels.n_threads() == 1


def test_the_table_names_machine_kernels_and_versions() -> None:
    output = run("--kernel", "payload_average", "--n", "700").stdout
    for word in (describe_machine().cpu, "scale in place", "payload_average", "700 elements"):
        assert word in output
    assert f"numpy {version('numpy')}" in output and "i8" in output and "7.7e-03" in output


def test_the_lossless_difference_is_a_row_with_its_ratio() -> None:
    wanted = ["--kernel", "payload_write_with", "--kernel", "payload_rebase"]
    rows = json.loads(run("--json", *wanted, "--n", "100000", "--threads", "1").stdout)["rows"]
    ratios = {(row["kernel"], row["codec"]): row["ratio"] for row in rows}
    for name in ("payload_write_with", "payload_rebase"):
        assert 1.5 < ratios[name, "delta"] < 2.5 < 3.8 < ratios[name, "i8"] < 4
    assert all(row["error"] is None for row in rows if row["codec"] == "delta")


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "floor.png"
    run("--kernel", "average", "--n", "300", "--n", "600", "--plot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_plot_grows_with_the_rows_and_says_what_each_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    wanted = ["--kernel", "average", "--n", "300", "--threads", "1", "--threads", "2"]
    few, many = tmp_path / "few.svg", tmp_path / "many.svg"
    run(*wanted, "--plot", str(few))
    run(*wanted, "--kernel", "payload_average", "--n", "600", "--plot", str(many))
    # Letters are drawn as paths, each text after a comment with the text itself.
    texts = [set(re.findall("<!-- (.+) -->", p.read_text("utf-8"))) for p in (few, many)]
    isa = kernels.isas()[0]
    assert {"average, 300 elements", "1 thread", "2 threads", f"f32, k=8, {isa}"} <= texts[0]
    assert {"payload_average, 600 elements", f"i8, k=8, {isa}"} <= texts[1]
    assert any(describe_machine().cpu in text for text in texts[0])
    heights = [
        float(re.findall(r'height="([\d.]+)pt"', p.read_text("utf-8"))[0]) for p in (few, many)
    ]
    assert heights[0] < 200 < 2 * heights[0] < heights[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no folder/floor.png", ["no folder", "No such file"]),
        ("floor.jpeg2", [".png", ".svg", "'floor.jpeg2'"]),
        ("folder.png", ["is a directory"]),
    ],
)
def test_a_picture_that_cannot_be_written_is_noticed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: list[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr("learnae.bench.__main__.run", not_reached)
    result = CliRunner().invoke(main, ["--quick", "--plot", str(tmp_path / name)])
    assert result.exit_code != 0
    assert all(word in result.output for word in words), result.output


def test_a_missing_matplotlib_is_noticed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learnae.bench.__main__.run", not_reached)
    monkeypatch.setattr("learnae.bench.plot.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["--quick", "--plot", str(tmp_path / "floor.png")])
    assert result.exit_code == 1 and "pip install matplotlib" in result.output


def not_reached(*_: object) -> None:
    raise AssertionError("measured before the picture was checked")


def test_the_check_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "old.png").write_bytes(b"old")
    for name in ("old.png", "new.png"):
        check(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kernel", "averge"], ["no kernel 'averge'", "payload_average"]),
        (["--isa", "sse9", "--n", "100", "--kernel", "crc32c"], ["sse9", kernels.isas()[-1]]),
    ],
)
def test_mistakes_name_what_there_is(arguments: list[str], words: list[str]) -> None:
    result = CliRunner().invoke(main, ["--quick", *arguments])
    assert result.exit_code != 0
    assert all(word in result.output for word in words), result.output


def test_the_groups_share_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a large group needs beyond its share is taken from the rest; no row is lost."""
    given: list[tuple[int, float]] = []
    now = [100.0]

    def measured(bench: Bench, group: Group) -> list[Row]:
        given.append((group.n, bench.budget.seconds))
        now[0] += 8.0 if group.n == 3000 else bench.budget.seconds
        return [
            Row("crc32c", "f32", group.n, 1, "portable", 1, 1.0, 1.0, 1.0, None, {}, {}),
        ]

    monkeypatch.setattr("learnae.bench.choice._QUICK_S", 12.0)
    monkeypatch.setattr("learnae.bench.choice.perf_counter", lambda: now[0])
    monkeypatch.setattr("learnae.bench.choice.measure_group", measured)
    monkeypatch.setattr(bandwidth, "measure_bandwidth", lambda *_: [])
    choice = Choice(("crc32c",), sizes=(1000, 3000, 2000), quick=True)
    report = choice_run(choice, lambda _: None)
    assert given == [(3000, 4.0), (2000, 2.0), (1000, 2.0)]
    assert now[0] == 112.0
    assert [row.n for row in report.rows] == [1000, 2000, 3000]


def test_default_sizes_fit_their_levels() -> None:
    machine = describe_machine()
    for quick in (False, True):
        sizes = default_sizes(machine, quick)
        levels = [bandwidth.level_of(n * 4 * 8, machine) for n in sizes]
        assert levels[0] == "L2" and len(set(levels)) == len(sizes)


def mean(models: Any, weights: Any) -> Any:
    return weights @ models


EXPECTED = {
    **dict.fromkeys(("average", "average_leaves", "payload_average"), mean),
    "median": lambda models, _: np.median(models, axis=0),
    "trimmed_mean": lambda models, _: np.sort(models, axis=0)[1:4].mean(axis=0),
    "distances": lambda models, _: ((models[:, None] - models) ** 2).sum(axis=-1),
}

RIVALS = [
    pytest.param(rival, kernel, codec, id=f"{kernel.name}-{codec}-{rival.name}")
    for kernel in KERNELS
    for codec in kernel.codecs
    for rival in rivals_of(kernel.name, codec, installed())
]


@pytest.mark.parametrize(("rival", "kernel", "codec"), RIVALS)
@pytest.mark.filterwarnings("ignore")  # what they say about themselves
def test_rivals_do_the_same_work(rival: Rival, kernel: Kernel, codec: str) -> None:
    inputs = Inputs.sample(3000, 5 if kernel.k > 1 else 1)
    result = rival.prepare(inputs, codec)()
    assert rival.version
    expected = EXPECTED.get(kernel.name)
    if expected is not None:
        parts = result if isinstance(result, list | tuple) else [result]
        exact = expected(np.array(inputs.models, np.float64), inputs.weights).reshape(-1)
        found = np.concatenate([np.asarray(part).reshape(-1) for part in parts])[: exact.size]
        error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
        assert error < {"f32": 1e-6, "bf16": 2e-3, "f16": 3e-4, "i8": 3e-2}[codec]


def test_markdown_has_a_column_for_each_rival() -> None:
    row = Row(
        *("average", "f32", 10, 8, "avx2", 1, 0.0025, 20.0, 0.95, None),
        rivals={"numpy": 3.96, "flower": 23.4},
        versions={},
    )
    lines = markdown([row]).splitlines()
    assert lines[0].startswith("| kernel | codec |") and lines[0].endswith("| numpy | flower |")
    assert lines[2] == "| average | f32 | 8 | avx2 | 1 | 2.5 ms | 20.0 | 95% |  |  | 4 x | 23 x |"
