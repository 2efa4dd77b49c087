"""Run the benchmark with all rivals and keep the result, with its machine and date.

    make rivals && .venv-rivals/bin/python bench/record.py

Writes bench/results/DATE-ARCHITECTURE.json and prints the short table for the README, as Markdown.
Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import warnings
from pathlib import Path

from learnae.bench.choice import Choice, run
from learnae.bench.report import Report, Row
from learnae.bench.rivals import missing
from learnae.bench.table import describe, markdown

RESULTS = Path(__file__).resolve().parent / "results"
SHORT = ("average", "payload_average", "payload_write", "payload_verify", "median", "distances")


def short_rows(report: Report) -> list[Row]:
    """Return what a first look needs: the largest size, all threads, the best instruction set."""
    n = max(row.n for row in report.rows)
    threads = max(row.threads for row in report.rows)
    found = [row for row in report.rows if (row.n, row.threads) == (n, threads)]
    return [row for name in SHORT for row in found if row.kernel == name]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="rough figures, to try this out")
    args = parser.parse_args()
    if missing():
        print(f"not installed, so not compared: {', '.join(missing())}", file=sys.stderr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what rivals say about themselves
        choice = Choice(quick=args.quick, rivals=True)
        report = run(choice, lambda line: print(line, file=sys.stderr))
    today = datetime.date.today().isoformat()
    path = args.folder / f"{today}-{report.machine.architecture}.json"
    args.folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    print(f"{path}\n{describe(report.machine)}\n\n{markdown(short_rows(report))}")


if __name__ == "__main__":
    main()
