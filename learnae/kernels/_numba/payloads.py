"""Payloads read: checked, decoded, added, averaged.

Headers and tables are parsed here in plain Python; the loops are in `decoding` and its neighbours.
What is checked, and in which order, is the list in docs/payload.md, 'Reading hostile bytes'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba import (
    checksum,
    decoding,
    delta,
    integers,
    packed,
    passes,
    sums,
    topk,
)
from learnae.kernels._numba.geometry import (
    ALIGNMENT,
    BLOCK_STEP,
    CODES,
    HEADER,
    Geometry,
    n_groups,
    padded,
)
from learnae.kernels._numba.jit import bytes_of, read_only
from learnae.kernels._seam import CODECS, Buffer, Float32, PayloadView, Status, check

__all__ = [
    "MAGIC",
    "NAMES",
    "crc32c",
    "handle_of",
    "payload_accumulate",
    "payload_average",
    "payload_decode",
    "payload_distance",
    "payload_open",
    "payload_verify",
    "sha256_chunks",
    "raw_and_block",
    "refuse",
]

MAGIC = b"\x89LRNAE\r\n"
_LENGTH_MAX = 1048576
_N_VECTORS_MAX = 4
NAMES = {number: name for name, number in CODECS.items()}
_NO_REFERENCE = np.empty(0, np.float32)
_NO_REFERENCE.flags.writeable = False


@dataclass(frozen=True)
class _Handle:
    geometry: Geometry
    raw: decoding.Raw

    def blocks(self) -> list[tuple[int, int, int]]:
        """List each block as `Geometry.blocks` does; where sizes vary, by the table."""
        blocks = self.geometry.blocks()
        if self.geometry.varies:
            sizes = self.raw.u32[HEADER.size // 4 :: 2][: len(blocks)].tolist()
            ends = (self.geometry.first_block + np.cumsum(sizes)).tolist()
            blocks = [
                (end - size, size, m)
                for end, size, (_, _, m) in zip(ends, sizes, blocks, strict=True)
            ]
        return blocks

    def block(self, vector: int) -> decoding.Block:
        g = self.geometry
        start = g.first_block + vector * g.vector_nbytes
        return decoding.Block(
            g.codec, start, g.block_nbytes, g.block_length, g.n_elements, g.parameter
        )


def handle_of(view: PayloadView) -> _Handle:
    assert isinstance(view.handle, _Handle), "a view of another backend"
    return view.handle


def raw_and_block(view: PayloadView, vector: int) -> tuple[decoding.Raw, decoding.Block]:
    """Return what the loops of `decoding` need of a vector."""
    handle = handle_of(view)
    return handle.raw, handle.block(vector)


def crc32c(data: Buffer, crc: int) -> int:
    return checksum.crc32c(bytes_of(data), crc)


def sha256_chunks(data: Buffer, chunk_nbytes: int) -> bytes | None:
    return None  # OpenSSL has the instructions that numba cannot name


def payload_open(buffer: Buffer, max_elements: int) -> PayloadView:
    u8 = bytes_of(buffer)
    if u8.ctypes.data % 4:
        u8 = read_only(u8.copy())
    if u8.size < HEADER.size:
        refuse(f"{u8.size} bytes are too few for a payload's header")
    fields = HEADER.unpack(u8[: HEADER.size].tobytes())
    magic, version, codec, n_vectors, n_elements, block_length, n_blocks = fields[:7]
    schema_digest, nbytes, table_crc, base, parameter, reserved, header_crc = fields[7:]
    if magic != MAGIC:
        refuse("not a payload: the magic bytes differ")
    if version != 1:
        refuse(f"payload version {version} is not known; this is learnae's version 1")
    if header_crc != checksum.crc32c(u8[: HEADER.size - 4]):
        refuse("the header is damaged: its checksum disagrees", Status.CHECKSUM)
    geometry = Geometry(codec, n_vectors, n_elements, block_length, parameter)
    _check_counts(geometry, max_elements)
    if base[0] != 1 and any(base):
        refuse("the base is not named by a CIDv1")
    if codec == CODECS["delta"] and not base[0]:
        refuse("codec delta without a base")
    if not (1 <= parameter <= block_length if codec == CODECS["topk"] else parameter == 0):
        refuse(f"codec {NAMES[codec]} does not take the parameter {parameter}")
    wanted = nbytes if geometry.varies else geometry.nbytes
    within = geometry.first_block <= nbytes <= geometry.nbytes
    if n_blocks != geometry.n_blocks or not within or nbytes != wanted or nbytes != u8.size:
        refuse("n_blocks or nbytes does not follow from the counts")
    _check_table(geometry, u8, table_crc)
    if any(reserved):
        refuse("reserved bytes of the header are not zero")
    raw = decoding.Raw(u8, u8.view(np.uint16), u8.view(np.uint32), u8.view(np.float32))
    return PayloadView(
        buffer=buffer,
        codec=NAMES[codec],
        n_vectors=n_vectors,
        n_elements=n_elements,
        block_length=block_length,
        n_blocks=n_blocks,
        nbytes=nbytes,
        schema_digest=schema_digest,
        parameter=parameter,
        base=base if any(base) else b"",
        handle=_Handle(geometry, raw),
    )


def refuse(message: str, status: Status = Status.FORMAT) -> None:
    check(status, message)


def _check_counts(geometry: Geometry, max_elements: int) -> None:
    if geometry.codec not in NAMES:
        refuse(f"codec {geometry.codec} is not known")
    if not 1 <= geometry.n_vectors <= _N_VECTORS_MAX:
        refuse(f"{geometry.n_vectors} vectors, allowed are 1 to {_N_VECTORS_MAX}")
    if geometry.n_elements < 1:
        refuse("a payload holds at least one element")
    length = geometry.block_length
    if not 1 <= length <= _LENGTH_MAX or length % BLOCK_STEP:
        refuse(f"block length {length} is not a multiple of 256 up to {_LENGTH_MAX}")
    if geometry.n_elements > max_elements:
        message = f"{geometry.n_elements} elements a vector are more than the cap {max_elements}"
        refuse(message, Status.SIZE)


def _check_table(geometry: Geometry, u8: NDArray[np.uint8], table_crc: int) -> None:
    table = u8[HEADER.size : geometry.first_block]
    if checksum.crc32c(table) != table_crc:
        refuse("the block table is damaged: its checksum disagrees", Status.CHECKSUM)
    entries = table.view(np.uint32)
    sizes = entries[: 2 * geometry.n_blocks : 2].reshape(geometry.n_vectors, -1)
    last = padded(geometry.content_nbytes(geometry.block_elements(sizes.shape[1] - 1)))
    if geometry.varies:
        small = np.all(sizes[:, :-1] <= geometry.block_nbytes) and np.all(sizes[:, -1] <= last)
        whole = np.all(sizes > 0) and not np.any(sizes % ALIGNMENT)
        if not (small and whole and sizes.sum(dtype=np.int64) == u8.size - geometry.first_block):
            refuse("the sizes of the blocks are too large, or do not make up the payload's")
    elif np.any(sizes[:, :-1] != geometry.block_nbytes) or np.any(sizes[:, -1] != last):
        refuse("a block's size in the table does not follow from its elements")
    if np.any(entries[2 * geometry.n_blocks :]):
        refuse("padding of the block table is not zero")


def payload_verify(view: PayloadView) -> None:
    handle = handle_of(view)
    geometry, raw = handle.geometry, handle.raw
    crcs = raw.u32[HEADER.size // 4 + 1 :: 2]
    for index, (at, nbytes, m) in enumerate(handle.blocks()):
        block = raw.u8[at : at + nbytes]
        if checksum.crc32c(block) != crcs[index]:
            refuse(f"block {index} is damaged: its checksum disagrees", Status.CHECKSUM)
        if geometry.varies:
            _check_varying(geometry, index, raw, at, block, m)
            continue
        if block[geometry.content_nbytes(m) :].any():
            refuse(f"padding of block {index} is not zero")
        if geometry.codec == CODECS["topk"]:
            if not topk.topk_valid(raw.u8, at, m, geometry.n_kept(m)):
                refuse(f"indices of block {index} are wrong")
            continue
        scales = raw.f32[at // 4 : at // 4 + n_groups(geometry.codec, m)]
        _check_scales(index, scales)
        used = m * CODES[geometry.codec][0] % 8
        if used and block[geometry.content_nbytes(m) - 1] >> used:
            refuse(f"bits behind the last code of block {index} are not zero")
        if geometry.codec == CODECS["ternary"]:
            pairs = block[4 * scales.size :]
            if (pairs & ~(pairs << 1) & 0xAA).any():
                refuse(f"block {index} has a ternary code of 2")


def _check_varying(
    geometry: Geometry, index: int, raw: decoding.Raw, at: int, block: NDArray[np.uint8], m: int
) -> None:
    """Check a block whose size is in it, and so its padding too."""
    shape = CODES[geometry.codec]
    is_delta = geometry.codec == CODECS["delta"]
    if not (delta.delta_valid(block, m) if is_delta else packed.packed_valid(shape, block, m)):
        refuse(f"parts of block {index} are wrong")
    first = (at + packed.AT_SCALES) // 4
    _check_scales(index, raw.f32[first : first + n_groups(geometry.codec, m)])


def _check_scales(index: int, scales: Float32) -> None:
    if not (np.isfinite(scales) & (scales >= 0)).all():
        refuse(f"a scale of block {index} is negative or not finite")


def payload_decode(view: PayloadView, vector: int, out: Float32) -> None:
    handle = handle_of(view)
    decoding.decode(handle.raw, handle.block(vector), decoding.F16_VALUES, out)


def payload_accumulate(view: PayloadView, vector: int, weight: float, acc: Float32) -> None:
    handle = handle_of(view)
    block = handle.block(vector)
    if view.codec in integers.INTEGER_CODECS:
        integers.average_integers(acc, [(handle.raw, block)], np.full(1, weight, np.float32))
        return
    decoding.accumulate(handle.raw, block, decoding.F16_VALUES, np.float32(weight), acc)


def payload_average(
    dst: Float32, own_weight: float, views: Sequence[PayloadView], weights: Float32, vector: int
) -> None:
    # As the compiled core does: sparse values are added to what is there.
    if not views or views[0].codec != "topk" or own_weight != 1.0:
        sums.scale(dst, read_only(dst), np.float32(own_weight))
    done = 0
    while done < len(views):
        n = passes.n_in_pass([view.codec for view in views[done:]])
        if n == 1:
            payload_accumulate(views[done], vector, weights[done], dst)
        else:
            sources = [raw_and_block(view, vector) for view in views[done : done + n]]
            passes.add_pass(views[done].codec, dst, sources, weights[done : done + n])
        done += n


def payload_distance(
    view: PayloadView, vector: int, reference: Float32 | None
) -> tuple[float, float]:
    handle = handle_of(view)
    floats = _NO_REFERENCE if reference is None else read_only(reference)
    bad, far, norm = decoding.distance(
        handle.raw, handle.block(vector), decoding.F16_VALUES, floats
    )
    if bad >= 0:
        message = f"the payload has NaN or an infinity at element {bad} of vector {vector}"
        check(Status.NONFINITE, message)
    return far, norm
