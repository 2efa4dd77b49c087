"""What travels on a pubsub topic: messages, and two small signs that make up for lost ones.

Kubo's pubsub forgets: who was not connected at the moment of sending never hears a message, and
a daemon under load drops some. So every message carries its sender's counter; a sender that has
fallen silent repeats the counter (*beacon*); and whoever has missed something, or is new, asks
(*ask*) for the newest messages of all, which are then sent once more with their old counters.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from learnae.transports.seam import MAX_MESSAGE_NBYTES

__all__ = ["MAX_FRAME_NBYTES", "TAG_NBYTES", "Frame", "Sign", "decode_frame", "encode_frame"]

_HEAD = struct.Struct(">BB8sQ")
_VERSION = 1
TAG_NBYTES = 8
MAX_FRAME_NBYTES = _HEAD.size + MAX_MESSAGE_NBYTES


class Sign(IntEnum):
    """What a frame is."""

    MESSAGE = 0
    BEACON = 1
    ASK = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes
    ----------
    sign
        What it is.
    tag
        8 bytes that tell apart the transports that share a daemon.
    counter
        Of a message, its place; of a beacon, that of its sender's newest message.
    data
        A message's bytes.
    """

    sign: Sign
    tag: bytes
    counter: int
    data: bytes = b""


def encode_frame(frame: Frame) -> bytes:
    """Write a frame: version, sign, tag, counter, data."""
    return _HEAD.pack(_VERSION, frame.sign, frame.tag, frame.counter) + frame.data


def decode_frame(data: bytes) -> Frame | None:
    """Read a frame; None for any other bytes."""
    if not _HEAD.size <= len(data) <= MAX_FRAME_NBYTES:
        return None
    version, sign, tag, counter = _HEAD.unpack_from(data)
    rest = data[_HEAD.size :]
    if version != _VERSION or sign > Sign.ASK or (sign != Sign.MESSAGE and rest):
        return None
    return Frame(Sign(sign), tag, counter, rest)
