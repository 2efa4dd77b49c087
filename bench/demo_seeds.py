"""Run `learnae demo` over seeds and print the medians: does the swarm close the gap?

    python bench/demo_seeds.py
    python bench/demo_seeds.py --alpha 0.1 --codec i8 --seeds 5 --out results
    python bench/demo_seeds.py --alpha 0.5 --codec i8 --seeds 1 --transport ipfs

Every run is the whole demo, with the kill and the late joiner; the first line of each row names
what was asked. Exit status 1 if a run failed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def run(alpha: float, codec: str, seed: int, folder: Path, more: list[str]) -> dict[str, Any]:
    """Run one demo and return its summary."""
    out = folder / f"alpha-{alpha}-{codec}-{seed}"
    options = ["--alpha", str(alpha), "--codec", codec, "--seed", str(seed), "--out", str(out)]
    command = [sys.executable, "-m", "learnae", "demo", *options, *more]
    log = folder / f"alpha-{alpha}-{codec}-{seed}.log"
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {status}; see {log}")
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def row(summaries: list[dict[str, Any]]) -> dict[str, float]:
    """Return the medians over one setting's seeds."""

    def median(pick: Any) -> float:
        return float(statistics.median(pick(s) for s in summaries))

    return {
        "isolated": median(lambda s: statistics.mean(s["accuracy"]["isolated"])),
        "central": median(lambda s: s["accuracy"]["central"]),
        "swarm_mean": median(lambda s: statistics.mean(s["accuracy"]["swarm"])),
        "swarm_worst": median(lambda s: min(s["accuracy"]["swarm"])),
        "gap_mean": median(lambda s: s["gap_closed"]["mean"]),
        "gap_worst": median(lambda s: s["gap_closed"]["worst"]),
        "gap_worst_vs_worst": median(lambda s: s["gap_closed"]["worst_vs_worst"]),
        "cpu_ms_per_round": 1e3 * median(lambda s: max(s["cpu_seconds_per_round"])),
        "pss_mb": median(lambda s: (s["pss_bytes"] or 0) / 1e6),
        "seconds": median(lambda s: s["seconds"]),
        "startup_seconds": median(lambda s: s["startup_seconds"]),
        "mb_per_peer": median(lambda s: statistics.mean(s["bytes_per_peer"]) / 1e6),
    }


def main() -> None:
    """Run every combination and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.5, 0.1])
    parser.add_argument("--codec", nargs="+", default=["i8", "f32"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args, more = parser.parse_known_args()
    folder = args.out or Path(tempfile.mkdtemp(prefix="learnae-seeds-"))
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for alpha in args.alpha:
        for codec in args.codec:
            summaries = [run(alpha, codec, seed, folder, more) for seed in range(args.seeds)]
            rows[f"alpha {alpha} {codec}"] = found = row(summaries)
            print(f"alpha {alpha} {codec}", *(f"{k} {v:.4g}" for k, v in found.items()), flush=True)
    (folder / "rows.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
