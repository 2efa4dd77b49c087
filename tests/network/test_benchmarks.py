"""The benchmarks over real daemons, shortened: what they report must hold on a busy machine too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubo import need_kubo

BENCH = Path(__file__).parents[2] / "bench"
ATTACKS = {
    "bad_cbor", "oversized", "wrong_cid", "endless_stream", "stale_replay", "unreachable", "flood",
}  # fmt: skip


def run(script: str, *arguments: str) -> Any:
    """Run a benchmark and return what it reports; its exit status is for the full length."""
    command = [sys.executable, str(BENCH / script), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.deadline(400)
def test_a_hostile_member_keeps_nobody_from_the_others() -> None:
    need_kubo()
    short = ("--blocks", "1", "--rounds", "4", "--round-seconds", "0.15", "--nice", "0")
    found = {row["attack"]: row for row in run("ipfs_hostile.py", *short)}
    assert set(found) == ATTACKS
    for name, row in found.items():
        print(name, row)
        assert row["per_s"] > 0, name
        assert row["honest_heard"], f"{name}: the honest peer's models did not come any more"
        assert row["honest_refused"] == 0, name


@pytest.mark.deadline(400)
def test_repos_and_peers_stay_small() -> None:
    need_kubo()
    found = run("ipfs_long_run.py", "--peers", "3", "--rounds", "60", "--min-seconds", "0.25")
    for peer in found["peers"]:
        print(peer)
        assert 1 < peer["repo_payloads"] < found["goal_payloads"]
        assert peer["rise_mb"] < 0.04 * peer["rss_mb"]  # a short run has just warmed up
