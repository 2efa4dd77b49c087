"""Canonical DAG-CBOR with links that are told apart from bytes.

``libipld`` reads strictly and fast, but it writes every byte string that happens to parse as a
CID as a link. Of random 32-byte keys and 64-byte signatures about one in 260,000 does (first
byte 1, two one-byte varints, a fitting length), and its owner would be shut out. So only its
reader is used; writing is done here, where a link is a `Link`. Reading gives `bytes` for both:
whoever must tell them apart writes the value again and compares.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from libipld import decode_dag_cbor

__all__ = ["Link", "cid_of_node", "decode", "encode"]

_UINT, _NINT, _BYTES, _TEXT, _LIST, _MAP, _TAG = range(7)
_WIDTHS = ((0xFF, 24, ">BB"), (0xFFFF, 25, ">BH"), (0xFFFFFFFF, 26, ">BI"), (2**64 - 1, 27, ">BQ"))


@dataclass(frozen=True)
class Link:
    """A binary CID to be written as a link (tag 42)."""

    cid: bytes


def encode(value: object) -> bytes:
    """Write None, bool, int, float, str, bytes, Link, sequences and string-keyed mappings.

    Raises
    ------
    ValueError
        For any other type, a non-finite float, an integer beyond 64 bits or a lone surrogate.
    """
    out = bytearray()
    _write(value, out)
    return bytes(out)


def _head(major: int, argument: int, out: bytearray) -> None:
    if argument < 24:
        out.append(major << 5 | argument)
        return
    for largest, info, form in _WIDTHS:
        if argument <= largest:
            out += struct.pack(form, major << 5 | info, argument)
            return
    raise ValueError(f"{argument} does not fit into 64 bits")


def _write(value: object, out: bytearray) -> None:
    if value is None or isinstance(value, bool):
        out.append(0xF6 if value is None else 0xF5 if value else 0xF4)
    elif isinstance(value, int):
        _head(_UINT if value >= 0 else _NINT, value if value >= 0 else -1 - value, out)
    elif isinstance(value, float):
        if value - value != 0.0:  # infinite or not a number: DAG-CBOR has neither
            raise ValueError(f"{value} is not finite")
        out += struct.pack(">Bd", 0xFB, value + 0.0)  # no negative zero in it either
    elif isinstance(value, str):
        text = value.encode("utf-8")
        _head(_TEXT, len(text), out)
        out += text
    elif isinstance(value, bytes):
        _head(_BYTES, len(value), out)
        out += value
    else:
        _write_composite(value, out)


def _write_composite(value: object, out: bytearray) -> None:
    if isinstance(value, Link):
        _head(_TAG, 42, out)
        _write(b"\x00" + value.cid, out)  # the zero is multibase "identity"
    elif isinstance(value, Mapping):
        # Canonical order: shorter keys first, then bytewise.
        pairs = sorted((len(k), k, v) for k, v in ((key.encode(), v) for key, v in value.items()))
        _head(_MAP, len(pairs), out)
        for length, key, item in pairs:
            _head(_TEXT, length, out)
            out += key
            _write(item, out)
    elif isinstance(value, Sequence):
        _head(_LIST, len(value), out)
        for item in value:
            _write(item, out)
    else:
        raise ValueError(f"{type(value).__name__} cannot be written as DAG-CBOR")


def decode(data: bytes) -> Any:
    """Read one DAG-CBOR value; links come back as their CID's bytes.

    Raises
    ------
    ValueError
        For anything that is not one strict DAG-CBOR value, too deep nesting included.
    """
    try:
        return decode_dag_cbor(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def cid_of_node(data: bytes) -> bytes:
    """Return the binary CIDv1 (dag-cbor, SHA-256) of an encoded DAG-CBOR value, 36 bytes."""
    return b"\x01\x71\x12\x20" + hashlib.sha256(data).digest()
