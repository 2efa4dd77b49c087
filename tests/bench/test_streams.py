"""The three loops, compiled and jitted: they touch what they say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from learnae._core import ffi, lib
from learnae.bench import streams
from learnae.bench.machine import describe_machine

LENGTH = 64 * 1024


@pytest.fixture(params=["compiled", "jitted"])
def walker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    if request.param == "jitted":
        monkeypatch.setattr(streams, "_load", lambda width: streams._Jitted())
    walker = streams.Streams(LENGTH, 2, describe_machine().register_nbytes)
    yield walker
    walker.close()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("operation", "factor"), [("read", 1), ("scale", 2), ("copy", 1)])
def test_bytes_are_counted(
    walker: streams.Streams, operation: str, factor: int, threads: int
) -> None:
    assert walker.run(operation, LENGTH, threads, passes=3) == 3 * factor * LENGTH


def test_copy_copies_the_other_half(walker: streams.Streams) -> None:
    walker._bytes[:] = np.arange(LENGTH) % 251
    walker.run("copy", LENGTH, 1, passes=1)
    assert (walker._bytes[: LENGTH // 2] == walker._bytes[LENGTH // 2 :]).all()


WIDTHS = [w for w in (16, 32, 64) if w <= describe_machine().register_nbytes]


@pytest.mark.parametrize("width", WIDTHS)
def test_read_reads_every_word(width: int) -> None:
    words = np.zeros(256, np.uint64)
    for i in range(words.size):
        words[i] = np.uint64(1) << np.uint64(i % 64)
        found = lib.learnae_stream_read(ffi.from_buffer(words), words.nbytes, 2, width)
        assert found == words[i], i
        words[i] = 0


@pytest.mark.parametrize("width", WIDTHS)
def test_scale_scales_every_float_in_every_pass(width: int) -> None:
    floats = np.arange(256, dtype=np.float32)
    pointer = ffi.from_buffer(floats, require_writable=True)
    lib.learnae_stream_scale(pointer, floats.nbytes, 3, width, 2.0)
    assert (floats == 8 * np.arange(256)).all()
