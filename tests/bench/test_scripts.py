"""What the scripts in bench/ make of rows: verdicts, and the README's table."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from learnae.bench.cases import KERNELS
from learnae.bench.machine import describe_machine
from learnae.bench.report import Report, Row

BENCH = Path(__file__).resolve().parents[2] / "bench"
ROW = Row(
    *("average", "f32", 10_000_000, 8, "avx2", 2, 0.016, 22.0, 0.92, None),
    rivals={"numpy": 3.96, "torch": 1.2},
    versions={"numpy": "2"},
)


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module(request.param)
    del sys.modules[request.param]


checks = pytest.mark.parametrize("script", ["check_kernels"], indirect=True)
records = pytest.mark.parametrize("script", ["record"], indirect=True)


@checks
def test_a_line_passes_at_its_bound(script: ModuleType) -> None:
    line = script.Line(1, "something", 1.3, 1.3)
    assert line.passed and " pass " in str(line)
    assert not replace(line, figure=1.29).passed and " FAIL " in str(replace(line, figure=1.29))
    assert replace(line, figure=1.2, most=True).passed
    assert not replace(line, figure=1.4, most=True).passed


@checks
def test_what_was_not_measured_fails(script: ModuleType) -> None:
    numpy, torch, flower = script.against(1, ROW, {"numpy": 3.0, "torch": 1.3, "flower": 15.0})
    assert numpy.passed and not torch.passed
    assert flower.figure is None and not flower.passed and "not measured" in str(flower)
    assert script.floor(1, ROW, 0.9).passed and not script.floor(1, ROW, 0.95).passed


@checks
def test_bars_name_kernels_that_there_are(script: ModuleType) -> None:
    assert set(script.BY_NAME) == {kernel.name for kernel in KERNELS}
    assert sorted(script.BARS) == [1, 2, 3, 4, 5, 6]


@checks
def test_the_exit_code_says_whether_all_is_reached(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [script.Line(1, "one", 2.0, 1.0), script.Line(1, "two", 2.0, 1.0)]
    monkeypatch.setattr(script, "BARS", {1: lambda bench: iter(lines)})
    monkeypatch.setattr(script.bandwidth, "dram_nbytes", lambda machine: 2**20)
    output = tmp_path / "lines.json"
    monkeypatch.setattr(sys, "argv", ["check_kernels.py", "--bar", "1", "--json", str(output)])
    assert script.main() == 0
    lines[1] = replace(lines[1], figure=None)
    assert script.main() == 1
    found = json.loads(output.read_text())["lines"]
    assert [line["passed"] for line in found] == [True, False]


@records
def test_the_short_table_is_the_largest_size_with_all_threads(script: ModuleType) -> None:
    rows = [
        replace(ROW, kernel="payload_verify"),
        replace(ROW, threads=1),
        replace(ROW, n=100_000),
        replace(ROW, kernel="crc32c"),
        ROW,
    ]
    report = Report(describe_machine(), [], rows)
    assert [row.kernel for row in script.short_rows(report)] == ["average", "payload_verify"]
