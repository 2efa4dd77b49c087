"""Reading and writing `swarm.toml`, the file that makes a swarm.

The file is TOML. Comments, white space, order and left-out defaults do not change the swarm;
every other change makes another one. What a key may hold stands in `learnae.swarm.sections`.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from learnae.errors import CharterError
from learnae.swarm.sections import (
    CODECS,
    Charter,
    DataSection,
    GossipSection,
    ModelSection,
    TrainingSection,
    about,
)

__all__ = [
    "CODECS",
    "MAX_CHARTER_NBYTES",
    "Charter",
    "DataSection",
    "GossipSection",
    "ModelSection",
    "TrainingSection",
    "dump_charter",
    "parse_charter",
]

MAX_CHARTER_NBYTES = 256 * 1024
# tomllib needs time quadratic in the parts of a dotted key (262,144 bytes of "a.a.a...": more
# than two minutes), so long ones are refused before it sees them. A key cannot leave its line,
# bare parts cannot contain what splits the pieces below, and quoted parts are counted apart.
_MAX_KEY_PARTS = 32
_MAX_QUOTED_PARTS = 64
_PIECE = re.compile(r"[,=\[\]{}\n]")
_DOT = re.compile(r"[\w\"'-][ \t]*\.")
_QUOTE_DOT = re.compile(r"[\"'][ \t]*\.")


def parse_charter(text: str | bytes) -> Charter:
    """Read a charter.

    Raises
    ------
    CharterError
        For anything that is not one, with the key and the cure in one line.
    """
    content = _load(_decoded(text))
    known = ("swarm", *Charter.SECTIONS)
    for name, section in content.items():
        if name not in known:
            raise CharterError(f"unknown section [{_brief(name)}]: {_nearest(name, known, '[{}]')}")
        if not isinstance(section, dict):
            raise CharterError(f"{name} must be a section: write [{name}] on a line of its own")
    swarm = content.get("swarm", {})
    own = [key.name for key in fields(Charter) if key.name not in Charter.SECTIONS]
    _refuse_unknown("swarm", swarm, own)
    if "name" not in swarm:
        raise CharterError('swarm.name is missing: write name = "..." under [swarm]')
    sections = {}
    for name, section in Charter.SECTIONS.items():
        given = content.get(name, {})
        _refuse_unknown(name, given, [key.name for key in fields(section)])
        sections[name] = section(**given)
    return Charter(**swarm, **sections)


def _decoded(text: str | bytes) -> str:
    nbytes = len(text.encode("utf-8", "replace")) if isinstance(text, str) else len(text)
    if nbytes > MAX_CHARTER_NBYTES:
        raise CharterError(
            f"the charter has {nbytes:,} bytes, at most {MAX_CHARTER_NBYTES:,} are allowed: is "
            "it another kind of file?"
        )
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CharterError(f"the charter is not UTF-8 text (byte {error.start})") from None


def _load(text: str) -> dict[str, Any]:
    dots = max((len(_DOT.findall(piece)) for piece in _PIECE.split(text)), default=0)
    if dots > _MAX_KEY_PARTS or len(_QUOTE_DOT.findall(text)) > _MAX_QUOTED_PARTS:
        raise CharterError(
            f"the charter has a line with more than {_MAX_KEY_PARTS} dotted words: shorten it"
        )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise CharterError("the charter is nested too deeply: remove brackets") from None
    except ValueError as error:  # TOMLDecodeError, and integers of thousands of digits
        raise CharterError(f"the charter is not valid TOML: {_brief(str(error), 120)}") from None


def _brief(text: str, length: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def _nearest(name: str, known: Iterable[str], form: str) -> str:
    choices = list(known)
    close = difflib.get_close_matches(name[:64], choices, n=1, cutoff=0.5)
    if close:
        return f"did you mean {form.format(close[0])}?"
    return "known are " + ", ".join(form.format(choice) for choice in choices)


def _refuse_unknown(section: str, given: dict[str, Any], known: list[str]) -> None:
    for key in given:
        if key not in known:
            nearest = _nearest(key, known, "{}")
            raise CharterError(f"unknown key {section}.{_brief(key)}: {nearest}")


def dump_charter(charter: Charter) -> str:
    """Write a charter as TOML with comments; `parse_charter` gives an equal one back.

    Raises
    ------
    CharterError
        If the text would be larger than `parse_charter` reads.
    """
    lines = [
        "# The charter of a learnae swarm. Every peer needs the same: any change but to comments,",
        "# white space and order makes another swarm.",
        "",
        "[swarm]",
    ]
    for key in fields(Charter):
        if key.name not in Charter.SECTIONS:
            lines += _entry(key.name, getattr(charter, key.name), about(key))
    for name in Charter.SECTIONS:
        section = getattr(charter, name)
        lines += ["", f"[{name}]"]
        options: list[str] = []
        for key in fields(section):
            value = getattr(section, key.name)
            if key.name == "options":  # a sub-section: it has to follow the plain keys
                options = ["", f"[{name}.options]", f"# {about(key)}"]
                options += [f"{option} = {_toml(value[option])}" for option in value]
            else:
                lines += _entry(key.name, value, about(key))
        lines += options
    text = "\n".join(lines) + "\n"
    if len(text.encode()) > MAX_CHARTER_NBYTES:
        raise CharterError(
            f"the charter would have more than {MAX_CHARTER_NBYTES:,} bytes: "
            "name fewer columns, classes, members or options"
        )
    return text


def _entry(name: str, value: Any, comment: str) -> list[str]:
    if value is None:
        return [f"# {name}: {comment}"]
    return [f"# {comment}", f"{name} = {_toml(value)}"]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        items = [_toml(item) for item in value]
        if sum(map(len, items)) <= 80:
            return "[" + ", ".join(items) + "]"
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return repr(value)
