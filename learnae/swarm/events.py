"""What the protocol tells the node: one frozen dataclass per thing that happened or is to be done.

Reasons come from one fixed table, so that they can be counted; free text goes into `detail`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from learnae.swarm.fields import Announcement

__all__ = [
    "Accepted",
    "Adopted",
    "ClockSuspect",
    "Drop",
    "Event",
    "Fetch",
    "Forgot",
    "Heard",
    "Ignored",
    "Publish",
    "Reason",
    "Recalled",
    "Rejected",
]


class Reason(StrEnum):
    """Why something was not taken."""

    TOO_LARGE = "too large"
    MALFORMED = "malformed"
    OTHER_SWARM = "other swarm"
    OWN_MESSAGE = "own message"
    NOT_A_MEMBER = "not a member"
    REPLAY = "replay"
    FORGED = "forged"
    EQUIVOCATION = "equivocation"
    CLOCK = "clock"
    BROKEN_CHAIN = "broken chain"
    OTHER_SCHEMA = "other schema"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


@dataclass(frozen=True)
class Heard:
    """Another peer's new announcement, verified.

    `since` is the sequence number heard of this peer before, 0 for none: between the two,
    announcements may have been missed.
    """

    announcement: Announcement
    since: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Recalled:
    """An earlier announcement of a peer, found by walking back its chain; verified."""

    announcement: Announcement


@dataclass(frozen=True)
class Ignored:
    """A message without effect; `peer_id` is who it claims to be from, where that is known."""

    reason: Reason
    peer_id: str | None
    detail: str = ""


@dataclass(frozen=True)
class Adopted:
    """Our own key was heard with a higher sequence: state was lost, or the key is used twice.

    `data` is that announcement, to be kept as the head.
    """

    sequence: int
    data: bytes


@dataclass(frozen=True)
class ClockSuspect:
    """More than half of the peers heard disagree with our clock in one direction.

    `skew_s` is the median of their time minus ours, `n_peers` how many they are.
    """

    skew_s: float
    n_peers: int


@dataclass(frozen=True)
class Publish:
    """To be written to disk as the head, then published on the topic, byte for byte."""

    topic: str
    data: bytes


@dataclass(frozen=True)
class Drop:
    """An own payload that is no longer kept for others: to be dropped from the store."""

    cid: bytes


@dataclass(frozen=True)
class Fetch:
    """A payload to be fetched, gated, and reported by `Peer.fetched`."""

    peer_id: str
    cid: bytes
    round: int
    samples: int = 0
    sequence: int = 0
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """A payload that is remembered from now on."""

    peer_id: str
    cid: bytes
    round: int


@dataclass(frozen=True)
class Rejected:
    """A payload that was not to be had, or not acceptable."""

    peer_id: str
    cid: bytes
    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Forgot:
    """A payload that is no longer remembered: its memory can be released."""

    peer_id: str
    cid: bytes


Event = (
    Heard
    | Recalled
    | Ignored
    | Adopted
    | ClockSuspect
    | Publish
    | Drop
    | Fetch
    | Accepted
    | Rejected
    | Forgot
)
