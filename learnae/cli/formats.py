"""How numbers and warnings look on a terminal, and how a document looks to a program."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["age", "nbytes", "number", "json_text", "print_json", "warn"]


def nbytes(count: float | None) -> str:
    """Return a count of bytes in decimal units, three digits: ``3.21 MB``; ``-`` for None."""
    if count is None:
        return "-"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def age(seconds: float | None) -> str:
    """Return a duration in the one unit that fits: ``4 s``, ``12 min``, ``3 h``, ``2 d``."""
    if seconds is None:
        return "-"
    if abs(seconds) < 100:
        return f"{seconds:.0f} s"
    if abs(seconds) < 6000:
        return f"{seconds / 60:.0f} min"
    if abs(seconds) < 360_000:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} d"


def number(value: float | None, digits: int = 4) -> str:
    """Return `value` with `digits` decimals; ``-`` where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}"


def print_json(document: Mapping[str, Any] | list[Any]) -> None:
    """Print one JSON document on standard output; NaN and infinity are refused."""
    click.echo(json_text(document))


def json_text(document: Mapping[str, Any] | list[Any]) -> str:
    """Return one JSON document, without a line's end; NaN and infinity are refused."""
    return json.dumps(document, indent=2, allow_nan=False)


def warn(line: str) -> None:
    """Print a warning on standard error."""
    click.secho(f"warning: {line}", fg="yellow", err=True)
