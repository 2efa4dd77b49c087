"""Keys that are derived from a swarm's one secret, each for one purpose.

The *swarm key* is 32 random bytes that all members have. It is never used itself: every use has
a key of its own, ``HKDF-SHA256(swarm key, salt = swarm id, info = "learnae/1/" + purpose)``
(RFC 5869). So the key of the private network, which a machine that only stores or forwards
needs, opens nothing, and the same swarm key in two swarms gives unrelated keys.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["SWARM_KEY_NBYTES", "derive", "kubo_swarm_key", "network_key"]

SWARM_KEY_NBYTES = 32


def derive(swarm_key: bytes, swarm_id: bytes, purpose: str) -> bytes:
    """Return the 32-byte key for one purpose.

    Raises
    ------
    ValueError
        If the swarm key or the swarm id does not have 32 bytes.
    """
    if len(swarm_key) != SWARM_KEY_NBYTES or len(swarm_id) != 32:
        raise ValueError("a swarm key and a swarm id have 32 bytes each")
    info = b"learnae/1/" + purpose.encode()
    return HKDF(SHA256(), length=32, salt=swarm_id, info=info).derive(swarm_key)


def network_key(swarm_key: bytes, swarm_id: bytes) -> bytes:
    """Return the pre-shared key of the swarm's private libp2p network, 32 bytes."""
    return derive(swarm_key, swarm_id, "network")


def kubo_swarm_key(swarm_key: bytes, swarm_id: bytes) -> str:
    """Return the text of the file ``swarm.key`` in a Kubo repository of this swarm."""
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{network_key(swarm_key, swarm_id).hex()}\n"
