"""The parts of `learnae demo` that need no swarm: plan, folder, views, figures."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from learnae.cli.demo.live import PlainView, live_table, plain_line
from learnae.cli.demo.picture import curve, split
from learnae.cli.demo.plan import MARKER, DemoOptions, claim_folder, clear_folder, prepare
from learnae.cli.demo.processes import Peers, total_pss_nbytes
from learnae.cli.demo.report import gap_closed
from learnae.cli.demo.run import Course, Row, Snapshot, Watch
from learnae.cli.statusfile import PeerStatus, RoundLine
from learnae.errors import DataError, UsageError
from learnae.learn.magic import read_magic
from learnae.learn.tabular import Moments, read_table
from learnae.swarm.charter import parse_charter

OPTIONS = DemoOptions(
    seed=3,
    peers=4,
    alpha=0.5,
    codec="f16",
    rounds=100,
    steps=10,
    fan_in=3,
    min_seconds=0.1,
    faults=True,
    keep_files=False,
    out=Path("out"),
)


def test_plan_deals_out_all_rows_and_holds_out_a_stratified_test_set(tmp_path: Path) -> None:
    options = replace(OPTIONS, out=tmp_path)
    plan = prepare(options)
    charter = parse_charter(plan.charter.read_bytes())
    shares = [read_table(peer.data, charter.data) for peer in plan.peers]
    test = read_table(plan.test, charter.data)
    assert [len(share) for share in shares] == [peer.samples for peer in plan.peers]
    assert len(shares) == 5 and [peer.late for peer in plan.peers] == [False] * 4 + [True]
    assert sum(map(len, shares)) + len(test) == 19_020
    everything = np.concatenate([share.x for share in [*shares, test]])
    assert len(test) == 3804
    trained = np.concatenate([share.y for share in shares])
    assert test.y.mean() == pytest.approx(trained.mean(), abs=1e-3)
    np.testing.assert_array_equal(in_order(everything), in_order(read_magic().x))
    largest = max(shares, key=len)
    assert charter.data.mean == pytest.approx(Moments.of(largest.x).mean)
    assert (charter.gossip.codec, charter.gossip.fan_in) == ("f16", 3)
    assert (charter.training.steps, charter.training.rounds) == (10, 100)
    assert charter.training.drift_correction
    assert plan.victim in {peer.name for peer in plan.peers if not peer.late}
    assert 15 <= plan.start_late_at <= 33 < plan.kill_at == 45 < plan.restart_at < 60


def in_order(x: np.ndarray) -> np.ndarray:
    return x[np.lexsort(x.T)]


def test_the_same_seed_gives_the_same_shares(tmp_path: Path) -> None:
    plans = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        (tmp_path / name).mkdir()
        plans.append(prepare(replace(OPTIONS, out=tmp_path / name, seed=seed)))
    same, again, other = ([peer.samples for peer in plan.peers] for plan in plans)
    assert same == again != other
    assert plans[0].charter.read_bytes() == plans[1].charter.read_bytes()


def test_without_faults_nobody_is_late_or_killed(tmp_path: Path) -> None:
    plan = prepare(replace(OPTIONS, out=tmp_path, faults=False))
    assert len(plan.peers) == 4
    assert plan.victim is None and not any(peer.late for peer in plan.peers)


def test_more_peers_than_the_data_can_feed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fewer peers"):
        prepare(replace(OPTIONS, out=tmp_path, peers=500))


def test_planning_needs_no_jax(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from learnae.cli.demo import plan, run, report, live, picture\n"
        f"out = Path({str(tmp_path)!r})\n"
        "options = plan.DemoOptions(0, 2, .5, 'i8', 5, 2, 2, .1, True, False, out)\n"
        "plan.prepare(options)\n"
        "assert 'jax' not in sys.modules and 'learnae.learn.rounds' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="--out"):
        claim_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_earlier_demos_folder_is_used_again_but_only_its_own_files_go(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    claim_folder(out)
    for name in ("homes/peer-1/key", "summary.json", "notes.txt"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("x")
    claim_folder(out)
    assert {path.name for path in out.iterdir()} == {MARKER, "notes.txt"}


def test_clearing_does_not_follow_links(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    out = tmp_path / "out"
    claim_folder(out)
    (out / "homes").symlink_to(elsewhere)
    clear_folder(out)
    assert (elsewhere / "file").read_text() == "precious"
    assert not (out / "homes").exists()


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UsageError, match="--out"):
        claim_folder(tmp_path / "out")


def test_gap_closed() -> None:
    assert gap_closed(0.85, 0.80, 0.90) == pytest.approx(0.5)
    assert gap_closed(0.70, 0.80, 0.90) == pytest.approx(-1)
    assert gap_closed(0.85, 0.90, 0.90) is None
    assert gap_closed(0.85, 0.95, 0.90) is None


STATUS = PeerStatus(
    peer_id="a" * 52,
    role="trainer",
    state="training",
    pid=1,
    round=12,
    rounds=250,
    loss=0.5,
    accuracy=0.875,
    n_peers=4,
    n_merged=5,
    models_merged=50,
    bytes_sent=1_234_567,
    bytes_received=2_000,
    rejected=0,
    adopted_round=None,
    resumed_round=None,
    cpu_seconds_per_round=0.01,
    started_at=1.0,
    training_since=2.0,
    updated_at=3.0,
)


def snapshot(first: str, alive: bool) -> Snapshot:
    rows = (
        Row("peer-1", first, alive, 400, STATUS),
        Row("peer-2", "not yet here", False, 300, None),
    )
    return Snapshot(7.4, 12, 250, rows)


def test_plain_line() -> None:
    line = plain_line(snapshot("training", True))
    assert line == (
        "    7 s  round 12/250  alive 1/2  loss 0.5000  accuracy 0.875 (worst 0.875)  1.23 MB sent"
    )


def test_the_clock_goes_on_when_training_begins(tmp_path: Path) -> None:
    plan = prepare(replace(OPTIONS, out=tmp_path))
    course = Course(started_at=time.time() - 10)
    watch = Watch(plan, course, Peers(plan))
    seen: list[Snapshot] = []
    watch.look(seen.append)
    course.training_at = time.time()
    watch.look(seen.append)
    assert 10 <= seen[0].seconds <= seen[1].seconds


def test_plain_view_reports_who_comes_and_goes() -> None:
    text = io.StringIO()
    view = PlainView(Console(file=text, width=200))
    view.show(snapshot("training", True))
    view.show(snapshot("training", True))
    view.show(snapshot("killed", False))
    lines = text.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("peer-1 is killed")


def test_live_table_shows_every_column() -> None:
    text = io.StringIO()
    Console(file=text, width=200).print(live_table(snapshot("training", True)))
    for part in (
        "round 12 of 250",
        "peer-1",
        "training",
        "400",
        "0.5000",
        "0.875",
        "1.23 MB",
        "2 kB",
    ):
        assert part in text.getvalue()
    assert "not yet here" in text.getvalue()


def line(round_: int, time: float, accuracy: float | None) -> RoundLine:
    return RoundLine(round_, time, 0.1, 0.5, accuracy)


def test_a_curve_has_the_points_that_were_measured() -> None:
    rounds = [line(1, 10.0, None), line(2, 11.0, 0.5), line(3, 12.0, 0.5), line(4, 13.0, 0.75)]
    assert curve(rounds, since=10.0) == ([1.0, 3.0], [0.5, 0.75])


def test_no_line_is_drawn_across_an_absence() -> None:
    assert split([1, 2, 5], [0.1, 0.2, 0.5], (2.5, 4)) == [([1, 2], [0.1, 0.2]), ([5], [0.5])]
    assert split([1, 2], [0.1, 0.2], None) == [([1, 2], [0.1, 0.2])]


def test_memory_of_processes() -> None:
    code = "print('here', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == b"here\n"
        own = total_pss_nbytes([process.pid])
        assert own is None or 1e5 < own < 1e9
        assert own is None or total_pss_nbytes([process.pid, process.pid]) > own
    finally:
        process.communicate(b"\n")
    assert total_pss_nbytes([process.pid]) is None
