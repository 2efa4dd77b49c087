"""What a peer writes down to go on after a restart, as bounded canonical DAG-CBOR.

Rows are lists, not maps: a checkpoint is written every few seconds, and thousands of peers may
be in it. Reading builds the state, writes it again and compares, so that every byte is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from learnae.errors import AnnouncementError, CheckpointError
from learnae.swarm import dagcbor
from learnae.swarm.announcement import Announcement, open_announcement
from learnae.swarm.fields import (
    MAX_ROUND,
    MAX_SAMPLES,
    MAX_SEQUENCE,
    fit_addresses,
    is_announcement_cid,
    is_digest,
    is_payload_cid,
)
from learnae.swarm.trust import peer_id_of, public_key_of

__all__ = ["MAX_KNOWN", "MAX_STATE_NBYTES", "Known", "Offer", "PeerState", "Remembered"]

MAX_KNOWN = 4096
MAX_REMEMBERED = 2048
MAX_PUBLISHED = 1024
# 4,096 records of at most 740 bytes, 2,048 remembered of at most 110, 1,024 CIDs of 38: 3.3 MB.
MAX_STATE_NBYTES = 8 * 2**20

_VERSION = 1
_KEYS = frozenset(
    {"version", "swarm", "peer", "sequence", "head", "round", "published", "known", "remembered"}
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Offer:
    """The payload that a peer announced last."""

    cid: bytes
    sequence: int
    round: int
    samples: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """The record of one other peer: its last announcement, and when we heard it (seconds)."""

    peer_id: str
    sequence: int
    cid: bytes
    heard_at: float
    gone: bool
    offer: Offer | None


@dataclass(frozen=True)
class Remembered:
    """The last accepted payload of one other peer, and our own round when we accepted it."""

    peer_id: str
    cid: bytes
    sequence: int
    round: int
    samples: int
    accepted: int

    @property
    def freshness(self) -> int:
        """The round for comparing ages: who claims to be ahead gains nothing by it."""
        return min(self.round, self.accepted)


@dataclass(frozen=True)
class PeerState:
    """A snapshot of `Peer`: `known` in the order last heard, `remembered` in that accepted."""

    swarm_id: bytes
    peer_id: str
    sequence: int
    head: bytes | None
    round: int
    published: tuple[bytes, ...]
    known: tuple[Known, ...]
    remembered: tuple[Remembered, ...]

    def to_bytes(self) -> bytes:
        """Encode as canonical DAG-CBOR."""
        return dagcbor.encode(
            {
                "version": _VERSION,
                "swarm": self.swarm_id,
                "peer": public_key_of(self.peer_id),
                "sequence": self.sequence,
                "head": self.head,
                "round": self.round,
                "published": self.published,
                "known": [_known_row(known) for known in self.known],
                "remembered": [_remembered_row(kept) for kept in self.remembered],
            }
        )

    @staticmethod
    def from_bytes(data: bytes) -> PeerState:
        """Decode what `to_bytes` wrote.

        Raises
        ------
        CheckpointError
            For any other bytes.
        """
        if len(data) > MAX_STATE_NBYTES:
            raise CheckpointError(f"not a peer's state: more than {MAX_STATE_NBYTES:,} bytes")
        try:
            content = dagcbor.decode(bytes(data))
            _require(isinstance(content, dict) and content.keys() == _KEYS)
            state = _state_of(content)
            _require(state.to_bytes() == data)
        except ValueError as error:
            raise CheckpointError(f"not a peer's state: {error}") from error
        return state


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("a value is missing, of another type, or out of range")


def _integer(value: Any, low: int, high: int) -> int:
    _require(isinstance(value, int) and not isinstance(value, bool) and low <= value <= high)
    return int(value)


def _peer_id(value: Any) -> str:
    _require(is_digest(value))
    return peer_id_of(value)


def _payload_cid(value: Any) -> bytes:
    _require(is_payload_cid(value))
    return bytes(value)


def _rows(value: Any, max_rows: int, read: Callable[[Any], _T]) -> tuple[_T, ...]:
    _require(isinstance(value, list) and len(value) <= max_rows)
    return tuple(read(row) for row in value)


def _row(value: Any, length: int) -> list[Any]:
    _require(isinstance(value, list) and len(value) == length)
    return list(value)


def _known_row(known: Known) -> list[Any]:
    offer: list[Any] | None = None
    if known.offer is not None:
        o = known.offer
        offer = [o.cid, o.sequence, o.round, o.samples, o.addresses]
    key = public_key_of(known.peer_id)
    return [key, known.sequence, known.cid, known.heard_at, known.gone, offer]


def _known_of(value: Any) -> Known:
    key, sequence, cid, heard_at, gone, offer = _row(value, 6)
    _require(is_announcement_cid(cid) and isinstance(gone, bool))
    _require(isinstance(heard_at, float) and math.isfinite(heard_at))
    return Known(
        _peer_id(key),
        _integer(sequence, 1, MAX_SEQUENCE),
        cid,
        heard_at,
        gone,
        None if offer is None else _offer_of(offer),
    )


def _offer_of(value: Any) -> Offer:
    cid, sequence, round_, samples, addresses = _row(value, 5)
    _require(isinstance(addresses, list))
    _require(all(isinstance(address, str) for address in addresses))
    _require(fit_addresses(addresses) == tuple(addresses))
    return Offer(
        _payload_cid(cid),
        _integer(sequence, 1, MAX_SEQUENCE),
        _integer(round_, 0, MAX_ROUND),
        _integer(samples, 0, MAX_SAMPLES),
        tuple(addresses),
    )


def _remembered_row(kept: Remembered) -> list[Any]:
    key = public_key_of(kept.peer_id)
    return [key, kept.cid, kept.sequence, kept.round, kept.samples, kept.accepted]


def _remembered_of(value: Any) -> Remembered:
    key, cid, sequence, round_, samples, accepted = _row(value, 6)
    return Remembered(
        _peer_id(key),
        _payload_cid(cid),
        _integer(sequence, 1, MAX_SEQUENCE),
        _integer(round_, 0, MAX_ROUND),
        _integer(samples, 0, MAX_SAMPLES),
        _integer(accepted, 0, MAX_ROUND),
    )


def _open_head(head: bytes) -> Announcement:
    try:
        return open_announcement(head).announcement
    except AnnouncementError as error:
        raise ValueError(str(error)) from error


def _state_of(content: dict[str, Any]) -> PeerState:
    head, swarm_id = content["head"], content["swarm"]
    _require(content["version"] == _VERSION and is_digest(swarm_id))
    sequence = _integer(content["sequence"], 0, MAX_SEQUENCE)
    _require((head is None) == (sequence == 0))
    state = PeerState(
        swarm_id=swarm_id,
        peer_id=_peer_id(content["peer"]),
        sequence=sequence,
        head=head,
        round=_integer(content["round"], 0, MAX_ROUND),
        published=_rows(content["published"], MAX_PUBLISHED, _payload_cid),
        known=_rows(content["known"], MAX_KNOWN, _known_of),
        remembered=_rows(content["remembered"], MAX_REMEMBERED, _remembered_of),
    )
    if head is not None:
        _require(isinstance(head, bytes))
        own = _open_head(head)
        _require((own.swarm_id, own.peer_id) == (swarm_id, state.peer_id))
        _require(own.sequence == sequence)
    for ids in ([k.peer_id for k in state.known], [r.peer_id for r in state.remembered]):
        _require(len(set(ids)) == len(ids) and state.peer_id not in ids)
    return state
