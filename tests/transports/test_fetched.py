"""Which fetched objects stay: large ones by number, small ones by their size."""

from __future__ import annotations

from learnae.transports.ipfs.fetched import KEEP_FETCHED, Fetched

MIB = 1 << 20


def fetched(*nbytes: int) -> Fetched:
    there = Fetched()
    for i, n in enumerate(nbytes):
        there.begin()
        there.end(bytes([i]), n)
    return there


def test_the_newest_large_ones_stay() -> None:
    there = fetched(*[2 * MIB] * 10)
    assert there.take_surplus() == [bytes([i]) for i in range(10 - KEEP_FETCHED)]
    assert there.take_surplus() == []
    assert bytes([9]) in there
    assert bytes([0]) not in there


def test_room_is_made_for_those_that_are_under_way() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED)
    there.begin()
    assert there.take_surplus() == [b"\0"]
    there.end(b"x", None)
    assert there.take_surplus() == []
    assert b"x" not in there


def test_small_ones_stay_as_long_as_they_fit() -> None:
    there = fetched(*[5000] * 100)
    assert there.take_surplus() == []
    there = fetched(*[MIB // 4] * 10)
    assert len(there.take_surplus()) == 6
    there = fetched(*[0] * 256)
    there.begin()
    assert there.take_surplus() == [b"\0"]


def test_what_is_fetched_again_is_new_again() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED)
    there.begin()
    there.end(b"\0", 2 * MIB)
    assert there.take_surplus() == []
    there.begin()
    assert there.take_surplus() == [b"\1"]
    there.forget(b"\0")
    assert b"\0" not in there
