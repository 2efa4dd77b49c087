"""``learnae predict``: a trained model applied to new rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from learnae.cli.folders import charter_of, charter_option
from learnae.cli.formats import json_text, warn
from learnae.cli.outfile import require_free, write
from learnae.errors import UsageError
from learnae.wording import count

if TYPE_CHECKING:
    from learnae.node.predict import Predictions

__all__ = ["command"]


@click.command(
    "predict",
    short_help="A trained model applied to new rows.",
    epilog="""\b
Examples:
  learnae predict home-1 new.csv --charter swarm.toml --out predictions.csv
  learnae predict home-1 new.csv --json
  learnae predict model.payload new.csv --charter swarm.toml""",
)
@click.argument("source", type=click.Path(path_type=Path), metavar="HOME_OR_PAYLOAD")
@click.argument("data", type=click.Path(path_type=Path), metavar="FILE")
@charter_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write.  [default: standard output]",
)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of CSV.")
def command(
    source: Path, data: Path, charter: Path | None, out: Path | None, force: bool, as_json: bool
) -> None:
    """Apply the newest model of HOME (a peer's folder), or a payload, to the rows of FILE.

    FILE is CSV, CSV.gz or NPZ with the charter's columns; it needs no label. For every row comes
    the class and the probability of each, or the number that the model predicts.
    """
    if not source.exists():
        raise UsageError(f"{source} does not exist: give a peer's folder, or a payload file")
    if out is not None:
        require_free(out, force=force)
    from learnae.node.predict import predict

    found = predict(source, charter_of(source, charter), data)
    if found.note is not None:
        warn(found.note)
    text = as_document(found, source, data) if as_json else as_csv(found)
    if out is None:
        click.echo(text, nl=False)
        return
    write(out, text.encode())
    click.echo(f"{out}: predictions for {count(len(found.values), 'row')} of {data}")


def as_csv(found: Predictions) -> str:
    """Return a header and a line for each row."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["prediction", *(f"p({name})" for name in found.classes)])
    for row in found.values:
        if found.classes:
            writer.writerow([found.classes[row.argmax()], *(f"{p:.6g}" for p in row)])
        else:
            writer.writerow([f"{row:.9g}"])
    return stream.getvalue()


def as_document(found: Predictions, source: Path, data: Path) -> str:
    """Return the same as one JSON document."""
    rows: list[Any] = [
        {
            "class": found.classes[row.argmax()],
            "probabilities": {n: float(p) for n, p in zip(found.classes, row, strict=True)},
        }
        if found.classes
        else {"value": float(row)}
        for row in found.values
    ]
    document = {
        **{"model": str(source), "round": found.round, "data": str(data), "n": len(rows)},
        "predictions": rows,
    }
    return json_text(document) + "\n"
