"""Compressors on what differs between two models, bit by bit: the exclusive or of their floats.

blosc2 and zstandard compress it at their level 1; ZipNN makes it from the two models itself;
pcodec, which works on numbers, takes the difference of the floats' bits as integers. And zstandard,
at levels 1 and 3, on a payload as it is, beside packing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.bench.cases.entry import Inputs
from learnae.bench.rivals.entry import Rival

__all__ = ["LOSSLESS"]

Coder = Callable[[Inputs], tuple[Callable[[], Any], Callable[[Any], object]]]


def _words(inputs: Inputs) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    return inputs.models[0].view(np.uint32), inputs.later.view(np.uint32)


def _blosc2(inputs: Inputs) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    import blosc2

    base, later = _words(inputs)
    settings = {
        **{"codec": blosc2.Codec.ZSTD, "clevel": 1, "typesize": 4, "nthreads": 1},
        "filters": [blosc2.Filter.SHUFFLE],
    }

    def join(data: Any) -> object:
        return np.frombuffer(blosc2.decompress2(data, nthreads=1), np.uint32) ^ base

    return lambda: blosc2.compress2((base ^ later).data, **settings), join


def _zstandard(inputs: Inputs) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    import zstandard

    base, later = _words(inputs)
    coder, decoder = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()

    def join(data: Any) -> object:
        return np.frombuffer(decoder.decompress(data), np.uint32) ^ base

    return lambda: coder.compress((base ^ later).data), join


def _zipnn(inputs: Inputs) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    import zipnn

    coder = zipnn.ZipNN(
        bytearray_dtype="float32", input_format="byte", delta_compressed_type="byte", threads=1
    )
    base, later = (words.tobytes() for words in _words(inputs))

    def split() -> Any:
        # It writes over the bytes that it is given, immutable or not.
        return coder.compress(bytearray(later), delta_second_data=base)

    return split, lambda data: coder.decompress(bytearray(data), delta_second_data=base)


def _pcodec(inputs: Inputs) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    from pcodec import ChunkConfig, standalone

    base, later = _words(inputs)

    def join(data: Any) -> object:
        return standalone.simple_decompress(data).view(np.uint32) + base

    return lambda: standalone.simple_compress((later - base).view(np.int32), ChunkConfig()), join


def _both(name: str, coder: Coder) -> tuple[Rival, Rival]:
    def write(inputs: Inputs, codec: str) -> Callable[[], object]:
        return coder(inputs)[0]

    def rebase(inputs: Inputs, codec: str) -> Callable[[], object]:
        split, join = coder(inputs)
        data = split()
        return lambda: join(data)

    return (
        Rival(name, name, "payload_write_with", write, ("delta",)),
        Rival(name, name, "payload_rebase", rebase, ("delta",)),
    )


def _on_payload(level: int) -> tuple[Rival, Rival]:
    def pack(inputs: Inputs, codec: str) -> Callable[[], object]:
        import zstandard

        coder, data = zstandard.ZstdCompressor(level=level), bytes(inputs.payload(codec, 0).buffer)
        return lambda: coder.compress(data)

    def unpack(inputs: Inputs, codec: str) -> Callable[[], object]:
        import zstandard

        decoder, data = zstandard.ZstdDecompressor(), pack(inputs, codec)()
        return lambda: decoder.decompress(data)

    name = f"zstandard -{level}"
    return (
        Rival(name, "zstandard", "payload_pack", pack, ("i8", "i4")),
        Rival(name, "zstandard", "payload_unpack", unpack, ("i8", "i4")),
    )


LOSSLESS = (
    *_on_payload(1),
    *_on_payload(3),
    *_both("blosc2", _blosc2),
    *_both("zstandard", _zstandard),
    *_both("zipnn", _zipnn),
    *_both("pcodec", _pcodec),
)
