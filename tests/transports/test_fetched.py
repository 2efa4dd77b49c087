"""Which fetched objects stay: large ones by number, small ones by their size."""

from __future__ import annotations

from learnae.transports.ipfs.fetched import AT_LEAST, KEEP_FETCHED, Fetched

MIB = 1 << 20


def fetched(*nbytes: int) -> Fetched:
    there = Fetched()
    for i, n in enumerate(nbytes):
        there.end(there.begin(bytes([i])), n)
    return there


def surplus(there: Fetched) -> list[bytes]:
    return [blocks[0] for blocks in there.take_surplus()]


def test_the_newest_large_ones_stay() -> None:
    there = fetched(*[2 * MIB] * 10)
    assert surplus(there) == [bytes([i]) for i in range(10 - KEEP_FETCHED)]
    assert surplus(there) == []
    assert bytes([9]) in there
    assert bytes([0]) not in there


def test_room_is_made_for_those_that_are_under_way() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED)
    new = there.begin(b"x")
    assert surplus(there) == [b"\0"]
    there.end(new, None)
    assert surplus(there) == []
    assert b"x" not in there


def test_a_few_stay_however_many_are_under_way() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED)
    new, *_ = [there.begin(bytes([name])) for name in b"abcdefgh"]
    assert surplus(there) == [bytes([i]) for i in range(KEEP_FETCHED - AT_LEAST)]
    there.end(new, 2 * MIB)
    assert surplus(there) == [bytes([KEEP_FETCHED - AT_LEAST])]
    assert b"a" in there, "what has just come"


def test_small_ones_stay_as_long_as_they_fit() -> None:
    assert surplus(fetched(*[5000] * 100)) == []
    assert len(surplus(fetched(*[50_000] * 30))) == 10
    there = fetched(*[0] * 256)
    there.end(there.begin(b"one more"), 0)
    assert surplus(there) == [b"\0"]


def test_a_large_one_sends_no_small_ones_away() -> None:
    there = fetched(*[5000] * 50, *[100 * MIB] * 10)
    assert surplus(there) == [bytes([50 + i]) for i in range(10 - KEEP_FETCHED)]
    assert bytes([0]) in there


def test_what_is_fetched_again_is_not_removed_meanwhile() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED)
    oldest = there.begin(b"\0")
    assert surplus(there) == []
    there.end(oldest, 2 * MIB)
    assert surplus(there) == []
    there.begin(b"x")
    assert surplus(there) == [b"\1"]
    there.forget(b"\0")
    assert b"\0" not in there


def test_what_is_needed_are_the_blocks_of_what_stays_and_of_what_comes() -> None:
    there = fetched(*[2 * MIB] * KEEP_FETCHED, 5)
    coming = there.begin(b"x")
    coming += [b"x's first", b"shared"]
    (gone,) = there.take_surplus()
    assert gone == [b"\0"]
    staying = {bytes([i]) for i in range(1, KEEP_FETCHED + 1)}
    assert there.needed() == {*staying, b"x", b"x's first", b"shared"}
    there.end(coming, None)
    assert there.needed() == staying
