"""``learnae evaluate``: accuracy of peers' models on a data file."""

from __future__ import annotations

from pathlib import Path

import click

from learnae.cli.folders import charter_of, charter_option, require_folder
from learnae.cli.formats import number, print_json
from learnae.wording import count

__all__ = ["command"]


@click.command(
    "evaluate",
    short_help="Accuracy of peers' models on a data file.",
    epilog="""\b
Examples:
  learnae evaluate home-1 home-2 --charter swarm.toml --data held-out.npz
  learnae evaluate home-1 --charter swarm.toml --data held-out.csv --json""",
)
@click.argument(
    "homes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="HOME..."
)
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Rows: CSV, CSV.gz or NPZ."
)
@charter_option
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="JAX compilation cache.  [default: in your user cache]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    homes: tuple[Path, ...], data: Path, charter: Path | None, cache: Path | None, as_json: bool
) -> None:
    """Evaluate the newest model of each HOME (a peer's folder) on the rows of --data."""
    for home in homes:
        require_folder(home)
    from learnae.node.evaluate import evaluate_homes

    n_rows, models = evaluate_homes(homes, charter_of(homes[0], charter), data, cache)
    if as_json:
        counted = [{**model, "n": int(model["n"])} for model in models]
        print_json({"data": str(data), "n": n_rows, "models": counted})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{count(n_rows, 'row')} of {data}", title_justify="left", box=None)
    for name in ("home", "round", "accuracy", "loss"):
        table.add_column(name, justify="left" if name == "home" else "right", overflow="fold")
    for model in models:
        cells = (str(model["round"]), number(model.get("accuracy")), number(model.get("loss")))
        table.add_row(model["home"], *cells)
    Console().print(table)
