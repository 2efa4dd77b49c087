"""The fields of an announcement, their ranges, and the one place that checks them.

docs/announcement.md is the contract; `_RULES` below is its table of fields in code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from learnae.swarm.sections import CODECS
from learnae.swarm.trust import is_peer_id

__all__ = [
    "MAX_ADDRESSES",
    "MAX_ADDRESSES_NBYTES",
    "MAX_ADDRESS_NBYTES",
    "MAX_ANNOUNCEMENT_NBYTES",
    "MAX_ROUND",
    "MAX_SAMPLES",
    "MAX_SEQUENCE",
    "MAX_TIME",
    "Announcement",
    "Kind",
    "check_announcement",
    "fit_addresses",
    "is_announcement_cid",
    "is_digest",
    "is_payload_cid",
]

MAX_ANNOUNCEMENT_NBYTES = 1000  # one IOTA transaction holds 1,093 ASCII characters
MAX_SEQUENCE = 2**53 - 1  # the largest that JSON readers such as `ipfs dag get | jq` keep exact
MAX_ROUND = 2**40 - 1
MAX_SAMPLES = 2**40
MAX_TIME = 1e11
MAX_ADDRESSES = 8
MAX_ADDRESS_NBYTES = 255
# All else takes at most 417 bytes and the list's own header 1, which leaves 582.
MAX_ADDRESSES_NBYTES = 560

_CID_NBYTES = 36
_ANNOUNCEMENT_CID = b"\x01\x71\x12\x20"
_PAYLOAD_CIDS = (b"\x01\x55\x12\x20", b"\x01\x70\x12\x20")


class Kind(StrEnum):
    """What an announcement says."""

    WEIGHTS = "weights"
    DATA = "data"
    HELLO = "hello"
    BYE = "bye"

    @property
    def has_payload(self) -> bool:
        """Whether an announcement of this kind names a payload."""
        return self in (Kind.WEIGHTS, Kind.DATA)


@dataclass(frozen=True)
class Announcement:
    """The fields of docs/announcement.md; `time` is in seconds since 1970, CIDs are binary."""

    swarm_id: bytes
    peer_id: str
    sequence: int
    previous: bytes | None
    kind: Kind
    round: int
    payload: bytes | None
    schema_digest: bytes
    codec: str
    samples: int
    loss: float | None
    addresses: tuple[str, ...]
    time: float


def is_payload_cid(value: object) -> bool:
    """Tell whether a value is the binary CID of a payload (raw or dag-pb, SHA-256)."""
    return isinstance(value, bytes) and len(value) == _CID_NBYTES and value[:4] in _PAYLOAD_CIDS


def is_announcement_cid(value: object) -> bool:
    """Tell whether a value is the binary CID of an announcement (dag-cbor, SHA-256)."""
    return isinstance(value, bytes) and len(value) == _CID_NBYTES and value[:4] == _ANNOUNCEMENT_CID


def fit_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses, best first, that an announcement has room for, in their order."""
    kept: list[str] = []
    room = MAX_ADDRESSES_NBYTES
    for address in addresses:
        cost = len(address.encode("utf-8", "replace")) + 2
        if _is_address(address) and cost <= room and len(kept) < MAX_ADDRESSES:
            kept.append(address)
            room -= cost
    return tuple(kept)


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def is_digest(value: object) -> bool:
    """Tell whether a value is 32 bytes."""
    return isinstance(value, bytes) and len(value) == 32


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return 1 <= len(value.encode("utf-8")) <= MAX_ADDRESS_NBYTES
    except UnicodeEncodeError:
        return False


def _fits(addresses: tuple[str, ...]) -> bool:
    nbytes = sum(len(address.encode("utf-8")) + 2 for address in addresses)
    return len(addresses) <= MAX_ADDRESSES and nbytes <= MAX_ADDRESSES_NBYTES


# One row per rule: (fields it speaks of, whether they obey, what is allowed). Checked in order.
_RULES: tuple[tuple[str, Callable[[Announcement], bool], str], ...] = (
    ("swarm", lambda a: is_digest(a.swarm_id), "must be 32 bytes"),
    ("peer", lambda a: isinstance(a.peer_id, str) and is_peer_id(a.peer_id), "must be a peer id"),
    ("sequence", lambda a: _is_integer(a.sequence, 1, MAX_SEQUENCE), "must be 1 to 2^53 - 1"),
    (
        "previous",
        lambda a: a.previous is None if a.sequence == 1 else is_announcement_cid(a.previous),
        "must be the CID of an announcement, null exactly where sequence is 1",
    ),
    ("kind", lambda a: isinstance(a.kind, Kind), "must be weights, data, hello or bye"),
    ("round", lambda a: _is_integer(a.round, 0, MAX_ROUND), "must be 0 to 2^40 - 1"),
    (
        "payload",
        lambda a: is_payload_cid(a.payload) if a.kind.has_payload else a.payload is None,
        "must be the CID of a payload, null exactly where kind is hello or bye",
    ),
    ("schema", lambda a: is_digest(a.schema_digest), "must be 32 bytes"),
    ("codec", lambda a: a.codec in CODECS, f"must be one of {', '.join(CODECS)}"),
    ("samples", lambda a: _is_integer(a.samples, 0, MAX_SAMPLES), "must be 0 to 2^40"),
    ("loss", lambda a: a.loss is None or _is_finite(a.loss), "must be a finite float or null"),
    (
        "addresses",
        lambda a: all(_is_address(address) for address in a.addresses),
        f"must be texts of 1 to {MAX_ADDRESS_NBYTES} bytes",
    ),
    (
        "addresses",
        lambda a: _fits(a.addresses),
        f"must be at most {MAX_ADDRESSES}, with at most {MAX_ADDRESSES_NBYTES} bytes in all "
        "(2 more each): announce fewer or shorter ones",
    ),
    ("time", lambda a: _is_finite(a.time) and 0 <= a.time <= MAX_TIME, "must be 0 to 1e11 s"),
)


def check_announcement(announcement: Announcement) -> str | None:
    """Return which field breaks its rule and what is allowed, or None where all are right."""
    for name, obeys, allowed in _RULES:
        if not obeys(announcement):
            return f"{name} {allowed}"
    return None
