"""Content identifiers, computed here so that they are the same on every transport.

The CID of an object is what ``ipfs add --cid-version=1 --raw-leaves
--chunker=size-1048576`` prints for a file with these bytes. Up to 1 MiB that is the SHA-256
of the bytes themselves (codec *raw*). Beyond it the bytes are cut into chunks of 1 MiB, the
leaves, and a balanced tree of *dag-pb* nodes with at most 174 links each is built over them;
the CID is that of the tree's root. Only hashes are kept on the way up, so computing it
needs no memory beside the object.

A node of the tree is two nested protobuf messages, written out by hand below because they
need three field types between them:

- ``PBNode { repeated PBLink Links = 2; bytes Data = 1; }`` with Links *before* Data, as
  dag-pb's canonical form demands, ``PBLink { bytes Hash = 1; string Name = 2; uint64
  Tsize = 3; }`` with the empty Name present;
- ``Data { DataType Type = 1; uint64 filesize = 3; repeated uint64 blocksizes = 4; }`` of
  UnixFS, Type 2 (file), blocksizes not packed.

Tsize counts the encoded subtree, filesize and blocksizes the object's own bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from learnae import kernels
from learnae.transports.seam import Buffer

__all__ = [
    "CHUNK_NBYTES",
    "CID_NBYTES",
    "DAG_CBOR",
    "N_LINKS",
    "Subtree",
    "blocks_of",
    "cid_from_text",
    "cid_of",
    "cid_text",
    "is_cid",
    "leaf_of",
    "node_cid",
    "root_of",
]

CHUNK_NBYTES = 1 << 20
N_LINKS = 174  # Kubo's default: links of about 47 bytes that fill a block of 8 KiB
CID_NBYTES = 36

DAG_CBOR = 0x71  # codec of nodes, the second byte of their CID
_RAW, _DAG_PB = 0x55, 0x70
_CODECS = frozenset((_RAW, _DAG_PB, DAG_CBOR))
_SHA2_256 = b"\x12\x20"  # multihash: function 0x12, 32 bytes
_TEXT_LENGTH = 1 + -(-CID_NBYTES * 8 // 5)


@dataclass(frozen=True, slots=True)
class Subtree:
    """A part of an object's tree: its name and sizes.

    Attributes
    ----------
    cid
        Binary CID of its topmost node.
    file_nbytes, dag_nbytes
        Bytes of the object below it, and of all its encoded blocks.
    """

    cid: bytes
    file_nbytes: int
    dag_nbytes: int


def cid_of(data: Buffer, *, chunk_nbytes: int = CHUNK_NBYTES, n_links: int = N_LINKS) -> bytes:
    """Compute the binary CIDv1 of an object.

    Parameters
    ----------
    data
        Any contiguous buffer; it is read once and not copied.
    chunk_nbytes, n_links
        Shape of the tree. Anything but the defaults gives CIDs that no transport uses.

    Returns
    -------
    bytes
        36 bytes: version, codec, and the multihash.

    Examples
    --------
    >>> cid_text(cid_of(b"hello world"))
    'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
    """
    with memoryview(data) as whole, whole.cast("B") as view:
        nbytes = view.nbytes
        if nbytes <= chunk_nbytes:
            return leaf_of(view).cid
        digests = kernels.sha256_chunks(view, chunk_nbytes)
    sizes = [min(chunk_nbytes, nbytes - i * chunk_nbytes) for i in range(len(digests))]
    leaves = [_leaf(digest, size) for digest, size in zip(digests, sizes, strict=True)]
    return root_of(leaves, n_links=n_links)


def leaf_of(chunk: memoryview) -> Subtree:
    """Hash one chunk of an object: `CHUNK_NBYTES`, or what is left at its end."""
    return _leaf(hashlib.sha256(chunk).digest(), chunk.nbytes)


def root_of(leaves: list[Subtree], *, n_links: int = N_LINKS) -> bytes:
    """Compute the CID of an object from its chunks in order; at least one."""
    return blocks_of(leaves, n_links=n_links)[-1]


def blocks_of(leaves: list[Subtree], *, n_links: int = N_LINKS) -> list[bytes]:
    """Compute the CIDs of all blocks of an object, its own last, from its chunks in order."""
    blocks = [leaf.cid for leaf in leaves]
    while len(leaves) > 1:
        leaves = [_node(leaves[i : i + n_links]) for i in range(0, len(leaves), n_links)]
        blocks += [node.cid for node in leaves]
    return blocks


def node_cid(data: Buffer) -> bytes:
    """Compute the binary CIDv1 of a DAG-CBOR node: the SHA-256 of its bytes."""
    return _cid(DAG_CBOR, data)


def cid_text(cid: bytes) -> str:
    """Write a binary CID as people and file names do: base32, lower case, leading ``b``."""
    return "b" + base64.b32encode(cid).decode("ascii").rstrip("=").lower()


def cid_from_text(text: str) -> bytes:
    """Read what `cid_text` wrote.

    Raises
    ------
    ValueError
        Anything but the canonical text of a CIDv1 with SHA-256 and a codec used here
        (raw, dag-pb, dag-cbor). Such a text is also a safe file name.
    """
    cid = b""
    if len(text) == _TEXT_LENGTH and text[0] == "b":
        try:
            cid = base64.b32decode(text[1:].upper() + "======")
        except (binascii.Error, ValueError):
            cid = b""
    # The last character has unused bits: only the spelling that we would write is a name.
    if not is_cid(cid) or cid_text(cid) != text:
        raise ValueError(f"{text[:80]!r} is not a CID: expected 'b' and 58 characters of base32")
    return cid


def is_cid(cid: bytes) -> bool:
    """Whether `cid` is a binary CIDv1 with SHA-256 and a codec used here."""
    return len(cid) == CID_NBYTES and cid[0] == 1 and cid[1] in _CODECS and cid[2:4] == _SHA2_256


def _cid(codec: int, block: Buffer) -> bytes:
    return _named(codec, hashlib.sha256(block).digest())


def _leaf(digest: bytes, nbytes: int) -> Subtree:
    return Subtree(_named(_RAW, digest), nbytes, nbytes)


def _named(codec: int, digest: bytes) -> bytes:
    return bytes((1, codec)) + _SHA2_256 + digest


def _node(children: list[Subtree]) -> Subtree:
    """Encode one inner node over `children`, in order, and hash it."""
    n_file = sum(child.file_nbytes for child in children)
    links = b"".join(
        _field(2, _field(1, child.cid) + _field(2, b"") + b"\x18" + _varint(child.dag_nbytes))
        for child in children
    )
    sizes = b"".join(b"\x20" + _varint(child.file_nbytes) for child in children)
    block = links + _field(1, b"\x08\x02\x18" + _varint(n_file) + sizes)
    return Subtree(
        _cid(_DAG_PB, block), n_file, len(block) + sum(child.dag_nbytes for child in children)
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    """Encode a length-delimited protobuf field."""
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content
