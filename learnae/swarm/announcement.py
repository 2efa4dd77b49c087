"""The one message of the protocol, as docs/announcement.md specifies it.

Read in two steps, because a peer wants the cheap checks (which swarm, who, is it new) before
the expensive one: `open_announcement` does everything but the signature, and the `Opened` it
returns is verified, or thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from learnae.errors import AnnouncementError
from learnae.swarm import dagcbor
from learnae.swarm.dagcbor import Link
from learnae.swarm.fields import (
    MAX_ANNOUNCEMENT_NBYTES,
    Announcement,
    Kind,
    check_announcement,
    is_digest,
)
from learnae.swarm.trust import Identity, peer_id_of, public_key_of, verify

__all__ = [
    "MAX_ANNOUNCEMENT_NBYTES",
    "Announcement",
    "Kind",
    "Opened",
    "announcement_cid",
    "decode_announcement",
    "encode_announcement",
    "open_announcement",
]

_VERSION = 1
_DOMAIN = b"learnae/announcement/1\n"
_SIGNATURE_HEAD = b"\x69signature\x58\x40"  # a text of 9 bytes, then 64 bytes


@dataclass(frozen=True)
class Opened:
    """An announcement whose form is right and whose signature has yet to be verified."""

    announcement: Announcement
    message: bytes
    signature: bytes
    cid: bytes

    def verified(self) -> bool:
        """Tell whether the announcement's own peer signed it."""
        return verify(self.announcement.peer_id, self.message, self.signature)


def announcement_cid(data: bytes) -> bytes:
    """Return the binary CIDv1 (dag-cbor, SHA-256) of an encoded announcement, 36 bytes."""
    return dagcbor.cid_of_node(data)


def _content(a: Announcement) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "swarm": a.swarm_id,
        "peer": public_key_of(a.peer_id),
        "sequence": a.sequence,
        "previous": None if a.previous is None else Link(a.previous),
        "kind": str(a.kind),
        "round": a.round,
        "payload": None if a.payload is None else Link(a.payload),
        "schema": a.schema_digest,
        "codec": a.codec,
        "samples": a.samples,
        "loss": a.loss,
        "addresses": list(a.addresses),
        "time": a.time,
    }


_KEYS = frozenset(
    {
        *("version", "swarm", "peer", "sequence", "previous", "kind", "round", "payload"),
        *("schema", "codec", "samples", "loss", "addresses", "time", "signature"),
    }
)


def _with_signature(unsigned: bytes, signature: bytes) -> bytes:
    """Return the canonical map with the signature added, without encoding it all again.

    Of an announcement's keys "signature" comes last in canonical order, and a map of fewer than
    24 keys has a header of one byte.
    """
    return bytes([unsigned[0] + 1]) + unsigned[1:] + _SIGNATURE_HEAD + signature


def encode_announcement(announcement: Announcement, identity: Identity) -> bytes:
    """Sign an announcement and return its at most 1,000 bytes.

    Raises
    ------
    ValueError
        If a field is out of range (the message says what to shorten), or if the announcement
        is not this identity's own.
    """
    fault = check_announcement(announcement)
    if fault is not None:
        raise ValueError(f"this announcement cannot be sent: {fault}")
    if announcement.peer_id != identity.peer_id:
        raise ValueError("this announcement cannot be sent: it is another peer's")
    unsigned = dagcbor.encode(_content(announcement))
    data = _with_signature(unsigned, identity.sign(_DOMAIN + unsigned))
    assert len(data) <= MAX_ANNOUNCEMENT_NBYTES
    return data


def _from_content(content: Mapping[str, Any]) -> Announcement:
    peer, kind, addresses = content["peer"], content["kind"], content["addresses"]
    if content["version"] != _VERSION:
        raise AnnouncementError(f"not an announcement of version {_VERSION}")
    if not is_digest(peer):
        raise AnnouncementError("not an announcement: peer must be 32 bytes")
    if kind not in list(Kind):
        raise AnnouncementError("not an announcement: kind must be weights, data, hello or bye")
    if not isinstance(addresses, list):
        raise AnnouncementError("not an announcement: addresses must be a list")
    return Announcement(
        swarm_id=content["swarm"],
        peer_id=peer_id_of(peer),
        sequence=content["sequence"],
        previous=content["previous"],
        kind=Kind(kind),
        round=content["round"],
        payload=content["payload"],
        schema_digest=content["schema"],
        codec=content["codec"],
        samples=content["samples"],
        loss=content["loss"],
        addresses=tuple(addresses),
        time=content["time"],
    )


# As for `verify`: a simulation reads each message once for all its peers.
@lru_cache(maxsize=1024)
def open_announcement(data: bytes) -> Opened:
    """Read an announcement and check everything about it but the signature.

    Raises
    ------
    AnnouncementError
        For any other bytes.
    """
    if len(data) > MAX_ANNOUNCEMENT_NBYTES:
        raise AnnouncementError(
            f"not an announcement: {len(data)} bytes, at most {MAX_ANNOUNCEMENT_NBYTES} allowed"
        )
    try:
        content = dagcbor.decode(data)
    except ValueError as error:
        raise AnnouncementError(f"not an announcement: {error}") from error
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise AnnouncementError("not an announcement: it does not have an announcement's keys")
    announcement = _from_content(content)
    fault = check_announcement(announcement)
    if fault is not None:
        raise AnnouncementError(f"not an announcement: {fault}")
    signature = content["signature"]
    if not isinstance(signature, bytes) or len(signature) != 64:
        raise AnnouncementError("not an announcement: signature must be 64 bytes")
    unsigned = dagcbor.encode(_content(announcement))
    if _with_signature(unsigned, signature) != data:
        raise AnnouncementError("not an announcement: not in canonical form")
    return Opened(announcement, _DOMAIN + unsigned, signature, announcement_cid(data))


def decode_announcement(data: bytes) -> Announcement:
    """Read an announcement and verify its signature.

    Raises
    ------
    AnnouncementError
        For any bytes that are not an announcement signed by the peer it names.
    """
    opened = open_announcement(data)
    if not opened.verified():
        raise AnnouncementError("this announcement was not signed by the peer it names")
    return opened.announcement
