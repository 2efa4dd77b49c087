"""Which fetched objects stay: large ones by number, small ones by their size."""

from __future__ import annotations

from learnae.transports.ipfs.fetched import AT_LEAST, KEEP_FETCHED, Fetched

MIB = 1 << 20


def fetched(*nbytes: int) -> Fetched:
    there = Fetched()
    for i, n in enumerate(nbytes):
        there.begin(bytes([i]))
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
    there.begin(b"x")
    assert there.take_surplus() == [b"\0"]
    there.end(b"x", None)
    assert there.take_surplus() == []
    assert b"x" not in there


def test_a_few_stay_however_many_are_under_way() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED)
    for name in b"abcdefgh":
        there.begin(bytes([name]))
    assert there.take_surplus() == [bytes([i]) for i in range(KEEP_FETCHED - AT_LEAST)]
    there.end(b"a", 2 * MIB)
    assert there.take_surplus() == [bytes([KEEP_FETCHED - AT_LEAST])]
    assert b"a" in there, "what has just come"


def test_small_ones_stay_as_long_as_they_fit() -> None:
    assert fetched(*[5000] * 100).take_surplus() == []
    assert len(fetched(*[50_000] * 30).take_surplus()) == 10
    there = fetched(*[0] * 256)
    there.begin(b"one more")
    there.end(b"one more", 0)
    assert there.take_surplus() == [b"\0"]


def test_a_large_one_sends_no_small_ones_away() -> None:
    there = fetched(*[5000] * 50, *[100 * MIB] * 10)
    assert there.take_surplus() == [bytes([50 + i]) for i in range(10 - KEEP_FETCHED)]
    assert bytes([0]) in there


def test_what_is_fetched_again_is_not_removed_meanwhile() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED)
    there.begin(b"\0")  # the oldest
    assert there.take_surplus() == []
    there.end(b"\0", 2 * MIB)
    assert there.take_surplus() == []
    there.begin(b"x")
    assert there.take_surplus() == [b"\1"]
    there.forget(b"\0")
    assert b"\0" not in there
