"""Sealing: what leaves a machine can be read, and made, only with the swarm key.

docs/encryption.md is the specification. An object is sealed in chunks, so that each is checked
before any of it is used, with the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar:
Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, 2015): a chunk's nonce
holds its number and whether it is the last, so that none can be left out, repeated or moved.

The keys are as in AES-GCM-SIV (RFC 8452): a keyed hash of the content, the *salt*, chooses the
key that seals it. So there is no nonce to repeat by accident, and sealing the same object again
gives the same bytes and with them the same CID, after a crash or on another machine. AES-GCM-SIV
itself runs at a tenth of the speed of AES-GCM in OpenSSL; here the hash is GMAC over
each chunk (at the speed of memory) with HMAC-SHA256 over the tags, which nobody gets to see.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from learnae.errors import WrongObject
from learnae.transports.keys import derive
from learnae.transports.seam import Buffer

__all__ = [
    "MESSAGE_OVERHEAD_NBYTES",
    "SEALED_CHUNK_NBYTES",
    "MessageSeal",
    "ObjectSeal",
    "sealed_nbytes",
]

_TAG_NBYTES = 16
_MAGIC = b"learnae\x01"
_OBJECT_SALT_NBYTES = 32
_HEADER_NBYTES = len(_MAGIC) + _OBJECT_SALT_NBYTES
#: A sealed chunk, its tag included, is as large as a block of IPFS.
SEALED_CHUNK_NBYTES = 1 << 20
_CHUNK_NBYTES = SEALED_CHUNK_NBYTES - _TAG_NBYTES

_MESSAGE_VERSION = b"\x01"
_MESSAGE_SALT_NBYTES = 16
#: By how much a message grows.
MESSAGE_OVERHEAD_NBYTES = len(_MESSAGE_VERSION) + _MESSAGE_SALT_NBYTES + _TAG_NBYTES


def sealed_nbytes(nbytes: int) -> int:
    """Return how many bytes an object of `nbytes` has when it is sealed."""
    return _HEADER_NBYTES + nbytes + _TAG_NBYTES * _n_chunks(nbytes)


def _n_chunks(nbytes: int) -> int:
    return max(1, -(-nbytes // _CHUNK_NBYTES))


def _content_nbytes(sealed_size: int) -> int | None:
    """Return the size of the object inside; None if no sealed object has this size."""
    body = sealed_size - _HEADER_NBYTES
    nbytes = body - _TAG_NBYTES * max(1, -(-body // SEALED_CHUNK_NBYTES))
    return nbytes if nbytes >= 0 and sealed_nbytes(nbytes) == sealed_size else None


def _nonce(number: int, last: bool) -> bytes:
    return struct.pack(">7xIB", number, last)


def _cipher(root: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDFExpand(SHA256(), length=32, info=salt).derive(root))


class ObjectSeal:
    """Seals and opens the objects of one swarm."""

    def __init__(self, swarm_key: bytes, swarm_id: bytes) -> None:
        self._root = derive(swarm_key, swarm_id, "object")
        self._gmac = AESGCM(derive(swarm_key, swarm_id, "object/chunk hash"))
        self._salt_key = derive(swarm_key, swarm_id, "object/salt")

    def seal(self, data: Buffer) -> bytearray:
        """Return an object sealed; the same bytes for the same object."""
        with memoryview(data) as whole, whole.cast("B") as view:
            n_chunks = _n_chunks(view.nbytes)
            sealed = bytearray(sealed_nbytes(view.nbytes))
            salt = self._salt(view, n_chunks)
            sealed[:_HEADER_NBYTES] = _MAGIC + salt
            cipher = _cipher(self._root, salt)
            with memoryview(sealed) as out:
                for i in range(n_chunks):
                    chunk = view[i * _CHUNK_NBYTES : (i + 1) * _CHUNK_NBYTES]
                    start = _HEADER_NBYTES + i * SEALED_CHUNK_NBYTES
                    target = out[start : start + len(chunk) + _TAG_NBYTES]
                    cipher.encrypt_into(_nonce(i, i == n_chunks - 1), chunk, None, target)
        return sealed

    def open(self, sealed: Buffer, max_nbytes: int) -> memoryview:
        """Check and return what is sealed inside, read-only.

        Raises
        ------
        WrongObject
            Larger than `max_nbytes` (before memory is allocated), not a sealed object, changed
            in any way, or sealed with another key.
        """
        with memoryview(sealed) as whole, whole.cast("B") as view:
            nbytes = _content_nbytes(view.nbytes)
            if nbytes is None or view[: len(_MAGIC)] != _MAGIC:
                raise WrongObject("not an object that was sealed by this version of learnae")
            if nbytes > max_nbytes:
                raise WrongObject(f"{nbytes} bytes inside, at most {max_nbytes} are accepted")
            salt = bytes(view[len(_MAGIC) : _HEADER_NBYTES])
            content = bytearray(nbytes)
            self._open_chunks(_cipher(self._root, salt), view[_HEADER_NBYTES:], content)
        return memoryview(content).toreadonly()

    def _open_chunks(self, cipher: AESGCM, body: memoryview, content: bytearray) -> None:
        n_chunks = _n_chunks(len(content))
        with memoryview(content) as out:
            for i in range(n_chunks):
                chunk = body[i * SEALED_CHUNK_NBYTES : (i + 1) * SEALED_CHUNK_NBYTES]
                start = i * _CHUNK_NBYTES
                target = out[start : start + len(chunk) - _TAG_NBYTES]
                try:
                    cipher.decrypt_into(_nonce(i, i == n_chunks - 1), chunk, None, target)
                except InvalidTag as error:
                    raise WrongObject(
                        "changed on the way, or sealed with another swarm's key"
                    ) from error

    def _salt(self, view: memoryview, n_chunks: int) -> bytes:
        tags = hmac.new(self._salt_key, struct.pack(">Q", view.nbytes), hashlib.sha256)
        for i in range(n_chunks):
            chunk = view[i * _CHUNK_NBYTES : (i + 1) * _CHUNK_NBYTES]
            tags.update(self._gmac.encrypt(_nonce(i, False), b"", chunk))
        return tags.digest()


class MessageSeal:
    """Seals and opens the messages of one swarm; any bytes up to a few kilobytes."""

    def __init__(self, swarm_key: bytes, swarm_id: bytes) -> None:
        self._root = derive(swarm_key, swarm_id, "message")
        self._salt_key = derive(swarm_key, swarm_id, "message/salt")

    def seal(self, data: bytes) -> bytes:
        """Return a message sealed; the same bytes for the same message."""
        salt = hmac.digest(self._salt_key, data, "sha256")[:_MESSAGE_SALT_NBYTES]
        return _MESSAGE_VERSION + salt + _cipher(self._root, salt).encrypt(bytes(12), data, None)

    def open(self, sealed: bytes) -> bytes | None:
        """Return the message inside; None if it was not sealed with this swarm's key."""
        if len(sealed) < MESSAGE_OVERHEAD_NBYTES or sealed[:1] != _MESSAGE_VERSION:
            return None
        salt, body = sealed[1 : 1 + _MESSAGE_SALT_NBYTES], sealed[1 + _MESSAGE_SALT_NBYTES :]
        try:
            return _cipher(self._root, salt).decrypt(bytes(12), body, None)
        except InvalidTag:
            return None
