"""What a key of the charter may hold: one small rule per kind of value.

A rule takes a value as TOML gives it, or as a Python caller passes it, and returns it in its
normal form (tuples, floats where floats belong), so that equal content has one digest. What it
does not take it refuses by raising `Refused`; the message is made where the key is known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Refused",
    "Rule",
    "boolean",
    "integer",
    "number",
    "one_of",
    "optional",
    "options",
    "pattern",
    "positive",
    "several",
    "text",
]

_INT64 = 2**63
_MAX_OPTIONS = 64
_MAX_OPTION_DEPTH = 4
_MAX_OPTION_TEXT_NBYTES = 4096


class Refused(Exception):
    """The value does not obey the rule."""


@dataclass(frozen=True)
class Rule:
    """`take` returns a value's normal form or raises `Refused`; `allowed` says what it takes."""

    take: Callable[[Any], Any]
    allowed: str


def _require(condition: bool) -> None:
    if not condition:
        raise Refused


def integer(low: int, high: int) -> Rule:
    """Take an integer in [low, high]."""

    def take(value: Any) -> int:
        _require(isinstance(value, int) and not isinstance(value, bool) and low <= value <= high)
        return int(value)

    return Rule(take, f"an integer from {low:,} to {high:,}")


def _finite(value: Any) -> float:
    _require(isinstance(value, int | float) and not isinstance(value, bool))
    _require(not isinstance(value, int) or abs(value) < _INT64)
    number = float(value)
    _require(math.isfinite(number))
    return number + 0.0  # -0.0 becomes 0.0


def number(low: float, high: float) -> Rule:
    """Take a number in [low, high]; integers become floats."""

    def take(value: Any) -> float:
        result = _finite(value)
        _require(low <= result <= high)
        return result

    return Rule(take, f"a number from {low:g} to {high:g}")


def positive(high: float) -> Rule:
    """Take a number in (0, high]; integers become floats."""

    def take(value: Any) -> float:
        result = _finite(value)
        _require(0.0 < result <= high)
        return result

    return Rule(take, f"a number above 0, at most {high:g}")


def boolean() -> Rule:
    """Take true or false."""

    def take(value: Any) -> bool:
        _require(isinstance(value, bool))
        return bool(value)

    return Rule(take, "true or false")


def _text(value: Any, max_nbytes: int) -> str:
    _require(isinstance(value, str))
    try:
        nbytes = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise Refused from None
    _require(nbytes <= max_nbytes)
    return str(value)


def text(max_nbytes: int) -> Rule:
    """Take a printable, non-empty text of at most `max_nbytes` bytes of UTF-8."""

    def take(value: Any) -> str:
        result = _text(value, max_nbytes)
        _require(bool(result.strip()) and result.isprintable())
        return result

    return Rule(take, f"a text of 1 to {max_nbytes} printable bytes")


def one_of(*values: str) -> Rule:
    """Take one of these texts."""

    def take(value: Any) -> str:
        _require(isinstance(value, str) and value in values)
        return str(value)

    return Rule(take, "one of " + ", ".join(f'"{value}"' for value in values))


def pattern(expression: str, allowed: str) -> Rule:
    """Take a text that matches the whole expression."""
    compiled = re.compile(expression)

    def take(value: Any) -> str:
        _require(isinstance(value, str) and compiled.fullmatch(value) is not None)
        return str(value)

    return Rule(take, allowed)


def several(rule: Rule, max_items: int, *, unique: bool = False, ordered: bool = True) -> Rule:
    """Take a list of values of one rule; without `ordered` it is sorted."""

    def take(value: Any) -> tuple[Any, ...]:
        _require(isinstance(value, list | tuple) and len(value) <= max_items)
        items = tuple(rule.take(item) for item in value)
        _require(not unique or len(set(items)) == len(items))
        return items if ordered else tuple(sorted(items))

    once = ", each once" if unique else ""
    return Rule(take, f"a list of at most {max_items:,} entries{once}, every one {rule.allowed}")


def optional(rule: Rule) -> Rule:
    """Take what the rule takes, or None for a key that is not there."""
    return Rule(lambda value: None if value is None else rule.take(value), rule.allowed)


def _option(value: Any, depth: int) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        _require(-_INT64 <= value < _INT64)
        return int(value)
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, str):
        return _text(value, _MAX_OPTION_TEXT_NBYTES)
    _require(isinstance(value, list | tuple) and depth < _MAX_OPTION_DEPTH)
    return tuple(_option(item, depth + 1) for item in value)


def options() -> Rule:
    """Take keyword arguments: numbers, texts, booleans, and lists of these up to four deep."""

    def take(value: Any) -> dict[str, Any]:
        _require(isinstance(value, Mapping) and len(value) <= _MAX_OPTIONS)
        for name in value:
            _require(isinstance(name, str) and name.isascii() and name.isidentifier())
            _require(len(name) <= 64)
        return {name: _option(value[name], 0) for name in sorted(value)}

    return Rule(
        take,
        f"at most {_MAX_OPTIONS} keyword arguments: numbers, texts, true or false, lists of these",
    )
