"""The protocol side of learnae: charter, identity, announcement, and the sans-IO peer.

Nothing in this package does I/O, reads a clock or draws a random number (`Identity.generate`
aside): bytes and a time go in, events come out. docs/announcement.md and docs/protocol.md are
the specification.
"""

from __future__ import annotations

from learnae.swarm.announcement import (
    MAX_ANNOUNCEMENT_NBYTES,
    Announcement,
    Kind,
    announcement_cid,
    decode_announcement,
    encode_announcement,
)
from learnae.swarm.charter import (
    CODECS,
    Charter,
    DataSection,
    GossipSection,
    ModelSection,
    TrainingSection,
    dump_charter,
    parse_charter,
)
from learnae.swarm.peer import Contribution, Peer
from learnae.swarm.state import PeerState
from learnae.swarm.trust import Identity, is_peer_id, short, verify

__all__ = [
    "CODECS",
    "MAX_ANNOUNCEMENT_NBYTES",
    "Announcement",
    "Charter",
    "Contribution",
    "DataSection",
    "GossipSection",
    "Identity",
    "Kind",
    "ModelSection",
    "Peer",
    "PeerState",
    "TrainingSection",
    "announcement_cid",
    "decode_announcement",
    "dump_charter",
    "encode_announcement",
    "is_peer_id",
    "parse_charter",
    "short",
    "verify",
]
