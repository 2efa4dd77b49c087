"""Peers, keys and messages for the tests of the protocol; import as `swarm.actors`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache

from learnae.swarm import (
    Announcement,
    Charter,
    GossipSection,
    Identity,
    Kind,
    Peer,
    announcement_cid,
    encode_announcement,
)
from learnae.swarm.events import Accepted, Event, Fetch, Ignored, Publish

NOW = 1.8e9
SCHEMA = hashlib.sha256(b"schema").digest()
OPEN = Charter(name="test")
ADDRESS = "/ip4/127.0.0.1/tcp/4001"


@cache
def identity(number: int) -> Identity:
    return Identity.from_private_bytes(hashlib.sha256(b"key %d" % number).digest())


def payload_cid(text: str) -> bytes:
    return b"\x01\x55\x12\x20" + hashlib.sha256(text.encode()).digest()


def charter(name: str = "test", *, members: tuple[str, ...] = (), **gossip: object) -> Charter:
    return Charter(name=name, members=members, gossip=GossipSection(**gossip))  # type: ignore[arg-type]


def peer(number: int, swarm: Charter = OPEN) -> Peer:
    return Peer(swarm, identity(number), SCHEMA)


def weights(a_peer: Peer, round_: int, now: float = NOW, samples: int = 10) -> list[Event]:
    """Let a peer announce a model that nobody else has."""
    return a_peer.announce(
        payload_cid(f"{a_peer.peer_id} {round_} {a_peer.sequence}"),
        kind=Kind.WEIGHTS,
        round=round_,
        samples=samples,
        loss=0.5,
        addresses=(ADDRESS,),
        now=now,
    )


def message(events: list[Event]) -> bytes:
    """Return the bytes that these events publish."""
    (data,) = [event.data for event in events if isinstance(event, Publish)]
    return data


def announcement(number: int = 0, **changes: object) -> Announcement:
    """Return a plain announcement by one of the keys, with some fields changed."""
    plain = Announcement(
        swarm_id=OPEN.swarm_id,
        peer_id=identity(number).peer_id,
        sequence=1,
        previous=None,
        kind=Kind.WEIGHTS,
        round=3,
        payload=payload_cid("plain"),
        schema_digest=SCHEMA,
        codec="i8",
        samples=100,
        loss=0.25,
        addresses=(ADDRESS,),
        time=NOW,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def signed(number: int = 0, **changes: object) -> bytes:
    """Return a plain announcement, changed and signed."""
    return encode_announcement(announcement(number, **changes), identity(number))


def chain(number: int, length: int) -> list[bytes]:
    """Return the first messages of a peer, linked as they have to be."""
    messages: list[bytes] = []
    for index in range(length):
        messages.append(
            signed(
                number,
                sequence=index + 1,
                previous=announcement_cid(messages[-1]) if messages else None,
                round=index,
                payload=payload_cid(f"chain {number} {index}"),
            )
        )
    return messages


def hear(a_peer: Peer, *messages: bytes, now: float = NOW) -> list[Event]:
    return [event for data in messages for event in a_peer.receive(data, now)]


def reasons(events: list[Event]) -> list[str]:
    return [event.reason if isinstance(event, Ignored) else "heard" for event in events]


def take(a_peer: Peer, now: float = NOW) -> list[Fetch]:
    """Fetch and accept all that is wanted."""
    fetches = a_peer.wanted(now)
    for fetch in fetches:
        assert a_peer.fetched(fetch, True, None, now)[0] == Accepted(
            fetch.peer_id, fetch.cid, fetch.round
        )
    return fetches
