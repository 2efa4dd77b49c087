"""What the facade and its two backends share: the view, the seam, and status to exception."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from learnae.errors import PayloadError

__all__ = [
    "CODECS",
    "Backend",
    "Buffer",
    "Bytes",
    "Float64",
    "Float32",
    "PayloadView",
    "Status",
    "WritableBuffer",
    "WriteOptions",
    "PACKED",
    "check",
]

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Bytes: TypeAlias = NDArray[np.uint8]
Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
WritableBuffer: TypeAlias = bytearray | memoryview | mmap.mmap

CODECS: Mapping[str, int] = MappingProxyType(
    {
        **{"f32": 1, "bf16": 2, "f16": 3, "i8": 4, "i4": 5, "sign": 6, "ternary": 7, "topk": 8},
        **{"delta": 9, "i8z": 10, "i4z": 11},
    }
)
# Codecs whose payloads are another's, packed.
PACKED: Mapping[str, str] = MappingProxyType({"i8z": "i8", "i4z": "i4"})


class Status(IntEnum):
    """``learnae_status`` of the C header."""

    OK = 0
    ARGUMENT = 1
    SIZE = 2
    FORMAT = 3
    CHECKSUM = 4
    NONFINITE = 5


@dataclass(frozen=True, eq=False)
class PayloadView:
    """A payload whose header and block table are in order; it borrows `buffer`.

    The view keeps `buffer` alive; nobody may change the bytes while it is in use. Counts are
    of elements per vector and of blocks in all vectors together. `base` is the binary CID of the
    payload that this one is a difference to, empty where it stands alone; `parameter` is the
    codec's own number, 0 where it has none.
    """

    buffer: Buffer
    codec: str
    n_vectors: int
    n_elements: int
    block_length: int
    n_blocks: int
    nbytes: int
    schema_digest: bytes
    parameter: int
    base: bytes
    # The backend's own form of the view, built once: a cdata, or arrays over the buffer.
    handle: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """``learnae_write_options`` of the C header: `base` and `base_cid` go together."""

    base: PayloadView | None = None
    base_cid: bytes = b""
    density: float = 0.0


class Backend(Protocol):
    """What a backend offers: the facade's functions, with arguments already checked.

    `payload_write` takes each vector as its leaves, of which none is empty.
    """

    def isa(self) -> str: ...
    def isas(self) -> tuple[str, ...]: ...
    def set_isa(self, name: str | None) -> None: ...
    def n_threads(self) -> int: ...
    def set_threads(self, n: int) -> None: ...
    def average(self, dst: Float32, models: Sequence[Float32], weights: Float32) -> None: ...
    def average_plan(
        self, dst: Sequence[Float32], models: Sequence[Sequence[Float32]]
    ) -> Callable[[Float32], None]: ...
    def mix(self, params: Float32, mean: Float32, rate: float) -> None: ...
    def trimmed_mean(self, dst: Float32, models: Sequence[Float32], n_trim: int) -> None: ...
    def distances(self, models: Sequence[Float32]) -> Float64: ...
    def krum(
        self, distances2: Float64, n_faulty: int, n_selected: int
    ) -> tuple[NDArray[np.int64], Float64]: ...
    def clip(
        self, distances2: Float64, weights: Float32, radius: float
    ) -> tuple[float, Float32]: ...
    def payload_trimmed_mean(
        self,
        dst: Float32,
        own: Float32 | None,
        views: Sequence[PayloadView],
        n_trim: int,
        vector: int,
    ) -> None: ...
    def payload_distances(
        self, own: Float32 | None, views: Sequence[PayloadView], vector: int
    ) -> Float64: ...
    def payload_clip(
        self,
        dst: Float32,
        views: Sequence[PayloadView],
        weights: Float32,
        radius: float,
        vector: int,
    ) -> Float32: ...
    def crc32c(self, data: Buffer, crc: int) -> int: ...
    def sha256_chunks(self, data: Buffer, chunk_nbytes: int) -> bytes | None: ...
    def payload_nbytes(self, codec: int, n_vectors: int, n_elements: int) -> int: ...
    def payload_bound(self, codec: int, n_vectors: int, n_elements: int, density: float) -> int: ...
    def payload_write(
        self,
        codec: int,
        schema_digest: bytes,
        vectors: Sequence[Sequence[Float32]],
        options: WriteOptions,
        out: Bytes,
    ) -> int: ...
    def payload_rebase(self, base: PayloadView, difference: PayloadView) -> bytearray: ...
    def payload_pack(self, view: PayloadView, codec: str) -> bytearray: ...
    def payload_unpack(self, view: PayloadView, codec: str) -> bytearray: ...
    def payload_open(self, buffer: Buffer, max_elements: int) -> PayloadView: ...
    def payload_verify(self, view: PayloadView) -> None: ...
    def payload_decode(self, view: PayloadView, vector: int, out: Float32) -> None: ...
    def payload_accumulate(
        self, view: PayloadView, vector: int, weight: float, acc: Float32
    ) -> None: ...
    def payload_average(
        self,
        dst: Float32,
        own_weight: float,
        views: Sequence[PayloadView],
        weights: Float32,
        vector: int,
    ) -> None: ...
    def payload_distance(
        self, view: PayloadView, vector: int, reference: Float32 | None
    ) -> tuple[float, float]: ...


def check(status: int, message: str, *, ours: bool = False) -> None:
    """Raise what a status means; return where it is OK.

    `ours` says that the data came from this program (writing) and not from outside (reading):
    then nobody else is to blame, and every failure is a ValueError.
    """
    if status == Status.OK:
        return
    if ours or status == Status.ARGUMENT:
        raise ValueError(message)
    raise PayloadError(message)
