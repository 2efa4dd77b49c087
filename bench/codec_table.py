"""Run `learnae demo` with every codec and write the table of docs/learning.md.

    python bench/codec_table.py --out results
    python bench/codec_table.py --codec f32 topk --seeds 5 --out results

Every run is the whole demo, with the kill and the late joiner; codecs take turns, so that what
else the machine does meets them alike. Runs that `--out` has already are not repeated. Exit
status 1 if a codec ends more than 0.01 of accuracy below f32.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from demo_seeds import run

from learnae.swarm.charter import CODECS

MAX_LOSS = 0.01


def machine() -> str:
    """Name the CPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def row(summaries: list[dict[str, Any]]) -> dict[str, float]:
    """Return one codec's medians over seeds; bytes are those of the mean peer."""

    def median(pick: Any) -> float:
        return float(statistics.median(pick(s) for s in summaries))

    return {
        "mean": median(lambda s: statistics.mean(s["accuracy"]["swarm"])),
        "worst": median(lambda s: min(s["accuracy"]["swarm"])),
        "lowest": min(min(s["accuracy"]["swarm"]) for s in summaries),
        "sent": median(lambda s: statistics.mean(s["bytes_sent"])),
        "received": median(lambda s: statistics.mean(s["bytes_received"])),
    }


def main() -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codec", nargs="+", default=CODECS, choices=CODECS)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args, more = parser.parse_known_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = {codec: [] for codec in args.codec}
    for seed in range(args.seeds):
        for codec in args.codec:
            done = args.out / f"alpha-{args.alpha}-{codec}-{seed}" / "summary.json"
            if not done.exists():
                run(args.alpha, codec, seed, args.out, more)
            found[codec].append(json.loads(done.read_text()))
            accuracy = statistics.mean(found[codec][-1]["accuracy"]["swarm"])
            print(f"seed {seed} {codec:8} {accuracy:.4f}", file=sys.stderr, flush=True)
    rows = {codec: row(summaries) for codec, summaries in found.items()}
    print(f"{machine()}; medians over seeds 0-{args.seeds - 1}\n")
    print("| codec | accuracy, mean peer | worst peer | worst of all seeds | sent | received |")
    print("|---|---|---|---|---|---|")
    for codec, r in rows.items():
        bytes_ = f"{r['sent'] / 1e6:.2f} MB | {r['received'] / 1e6:.2f} MB"
        print(f"| `{codec}` | {r['mean']:.4f} | {r['worst']:.4f} | {r['lowest']:.4f} | {bytes_} |")
    (args.out / "rows.json").write_text(json.dumps(rows, indent=1) + "\n")
    best = rows.get("f32", {"mean": 0.0})["mean"]
    return int(any(r["mean"] < best - MAX_LOSS for r in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
