"""Who is who: Ed25519 keys, peer ids made of them, and signatures.

A peer id is the public key itself, in lower-case base32 without padding: 52 characters, no
registry, nothing to look up. Every message that counts is signed with the key behind it.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from learnae.errors import IdentityError

__all__ = ["Identity", "is_peer_id", "peer_id_of", "public_key_of", "short", "verify"]

_KEY_NBYTES = 32
_PEER_ID_LENGTH = 52  # 256 bits in groups of 5; the last character's low 4 bits are zero


class Identity:
    """An Ed25519 key pair; the private half never leaves it but through `private_bytes`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.peer_id = peer_id_of(key.public_key().public_bytes_raw())

    @staticmethod
    def generate() -> Identity:
        """Make a new identity from the operating system's randomness."""
        return Identity(Ed25519PrivateKey.generate())

    @staticmethod
    def from_private_bytes(private: bytes) -> Identity:
        """Restore an identity from its 32 private bytes.

        Raises
        ------
        IdentityError
            If there are not exactly 32 of them.
        """
        if len(private) != _KEY_NBYTES:
            raise IdentityError(
                f"a private key has {_KEY_NBYTES} bytes, this one has {len(private)}: restore the "
                "key file from a copy, or delete it to start as a new peer"
            )
        return Identity(Ed25519PrivateKey.from_private_bytes(private))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature; the same message always gives the same bytes."""
        return self._key.sign(message)

    def private_bytes(self) -> bytes:
        """Return the 32 bytes that `from_private_bytes` takes: keep them secret."""
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        """Show the public half only."""
        return f"Identity({self.peer_id})"


# The same few peers come again and again, and base32 costs as much as all other checks.
@lru_cache(maxsize=4096)
def peer_id_of(public_key: bytes) -> str:
    """Return the peer id (52 characters) of a 32-byte public key."""
    return base64.b32encode(public_key).decode("ascii").rstrip("=").lower()


@lru_cache(maxsize=4096)
def public_key_of(peer_id: str) -> bytes:
    """Return the 32-byte public key that a peer id spells.

    Raises
    ------
    ValueError
        If it is not a peer id in its one canonical spelling.
    """
    if len(peer_id) == _PEER_ID_LENGTH and peer_id == peer_id.lower():
        try:
            public_key = base64.b32decode(peer_id.upper() + "====")
        except (binascii.Error, ValueError):
            public_key = b""
        if public_key and peer_id_of(public_key) == peer_id:
            return public_key
    raise ValueError(f"{peer_id[:64]!r} is not a peer id (52 characters of a-z and 2-7)")


def is_peer_id(text: str) -> bool:
    """Tell whether a text is a peer id in its canonical spelling."""
    try:
        public_key_of(text)
    except ValueError:
        return False
    return True


# A simulation verifies each message once for all its peers; a real peer sees it only once anyway.
@lru_cache(maxsize=1024)
def verify(peer_id: str, message: bytes, signature: bytes) -> bool:
    """Tell whether this peer signed this message; False for a malformed id or signature too."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key_of(peer_id)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def short(peer_id: str) -> str:
    """Return the first 8 characters, enough for people to tell peers apart."""
    return peer_id[:8]
