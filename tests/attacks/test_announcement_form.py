"""Attack: say the same thing in other bytes.

DAG-CBOR has one right form for each value, but CBOR has many. If a peer took another form, the
same announcement could be sent under many CIDs, so that replays look new, chains fork without
anybody having forked them, and two readers disagree about what was signed. Every test here
signs the odd form rightly, with the sender's own key: only its form is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from swarm.actors import NOW, identity, peer, signed

from learnae.errors import AnnouncementError
from learnae.swarm import dagcbor
from learnae.swarm.announcement import decode_announcement
from learnae.swarm.events import Ignored

Pairs = list[tuple[str, bytes]]


def pairs_of(data: bytes) -> Pairs:
    """Return the keys of an announcement with their encoded values, in canonical order."""
    content = dagcbor.decode(data)
    content["payload"] = dagcbor.Link(content["payload"])
    del content["signature"]
    order = sorted(content, key=lambda key: (len(key), key))
    return [(key, dagcbor.encode(content[key])) for key in order]


def build(pairs: Pairs, head: bytes | None = None) -> bytes:
    body = b"".join(dagcbor.encode(key) + value for key, value in pairs)
    return (bytes([0xA0 + len(pairs)]) if head is None else head) + body


def sign(change: Callable[[Pairs], Pairs]) -> bytes:
    """Change the signed part, sign it as it is, and add the signature."""
    pairs = change(pairs_of(signed(1)))
    signature = identity(1).sign(b"learnae/announcement/1\n" + build(pairs))
    return build([*pairs, ("signature", dagcbor.encode(signature))])


def put(key: str, value: bytes) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [(k, value if k == key else v) for k, v in pairs]


def refused(data: bytes, match: str = "not an announcement") -> None:
    with pytest.raises(AnnouncementError, match=match):
        decode_announcement(data)
    (event,) = peer(0).receive(data, NOW)
    assert isinstance(event, Ignored) and event.reason == "malformed"


def test_the_builder_builds_what_is_accepted() -> None:
    assert sign(lambda pairs: pairs) == signed(1)


@pytest.mark.parametrize("value", ["1803", "190003", "1a00000003", "1b0000000000000003"])
def test_long_integers(value: str) -> None:
    refused(sign(put("round", bytes.fromhex(value))), "canonical")


@pytest.mark.parametrize("value", [b"\xf9\x34\x00", b"\xfa" + struct.pack(">f", 0.25)])
def test_short_floats(value: bytes) -> None:
    refused(sign(put("loss", value)))


@pytest.mark.parametrize("value", ["f97e00", "fb7ff8000000000000", "fb7ff0000000000000", "f7"])
def test_floats_that_are_no_numbers(value: str) -> None:
    refused(sign(put("loss", bytes.fromhex(value))))


def test_negative_zero() -> None:
    refused(sign(put("loss", b"\xfb" + struct.pack(">d", -0.0))))


def test_integers_where_floats_belong_and_the_reverse() -> None:
    refused(sign(put("loss", b"\x01")), "loss")
    refused(sign(put("round", b"\xfb" + struct.pack(">d", 3.0))), "round")
    refused(sign(put("samples", b"\xf5")), "samples")
    refused(sign(put("version", b"\xf5")), "canonical")
    refused(sign(put("version", b"\xfb" + struct.pack(">d", 1.0))), "canonical")


def test_indefinite_lengths() -> None:
    refused(sign(put("codec", b"\x7f\x62i8\xff")))
    refused(sign(put("schema", b"\x5f\x58\x20" + bytes(32) + b"\xff")))
    refused(sign(put("addresses", b"\x9f\xff")))
    pairs = pairs_of(signed(1))
    signature = dagcbor.encode(identity(1).sign(b""))
    refused(build([*pairs, ("signature", signature)], b"\xbf") + b"\xff")


def test_long_lengths() -> None:
    refused(sign(put("codec", b"\x78\x02i8")), "canonical")
    refused(sign(put("addresses", b"\x98\x00")), "canonical")
    refused(sign(put("schema", b"\x59\x00\x20" + bytes(32))), "canonical")


def test_lengths_beyond_the_end() -> None:
    refused(sign(put("addresses", b"\x9b" + b"\xff" * 8)))
    refused(sign(put("addresses", b"\x9a\x7f\xff\xff\xff")))
    refused(sign(put("schema", b"\x5b" + b"\xff" * 8)))
    refused(sign(put("codec", b"\x7a\xff\xff\xff\xff")))


def test_keys_out_of_order() -> None:
    refused(sign(lambda pairs: pairs[::-1]))
    refused(sign(lambda pairs: [pairs[1], pairs[0], *pairs[2:]]))


def test_keys_twice() -> None:
    refused(sign(lambda pairs: [pairs[0], *pairs]))
    refused(sign(lambda pairs: [*pairs[:-1], ("time", pairs[-1][1]), pairs[-1]]))


def test_keys_too_many_or_too_few() -> None:
    extra = [("zzzzzzzzz", b"\x01")]
    refused(build([*pairs_of(signed(1)), ("signature", b"\x40"), *extra]))
    refused(sign(lambda pairs: pairs[1:]), "keys")
    refused(build(pairs_of(signed(1))), "keys")


def test_keys_that_are_no_texts() -> None:
    refused(b"\xa1\x01\x01")
    refused(b"\xa1\x41a\x01")


def test_trailing_and_leading_bytes() -> None:
    refused(signed(1) + b"\x00")
    refused(signed(1) + signed(1)[:100])
    refused(b"\x00" + signed(1))


def test_links_where_bytes_belong_and_the_reverse() -> None:
    cid = dagcbor.decode(signed(1))["payload"]
    refused(sign(put("payload", dagcbor.encode(cid))), "canonical")
    looks = b"\x01\x71\x12\x1c" + bytes(28)
    refused(sign(put("schema", dagcbor.encode(dagcbor.Link(looks)))), "canonical")


def test_other_tags() -> None:
    refused(sign(put("time", b"\xc1\xfb" + struct.pack(">d", NOW))))
    refused(b"\xd9\xd9\xf7" + signed(1))  # "self-described CBOR"


def test_text_that_is_not_utf8() -> None:
    refused(sign(put("addresses", b"\x81\x62\xff\xfe")))
    refused(sign(put("addresses", b"\x81\x63\xed\xa0\x80")))  # a lone surrogate


def test_deep_nesting() -> None:
    refused(b"\x81" * 999 + b"\x80")
    refused(sign(put("loss", b"\x81" * 400 + b"\x80")))
    refused(sign(put("kind", b"\x81" * 400 + b"\x80")))


def test_other_versions() -> None:
    refused(sign(put("version", b"\x02")), "version 1")


def test_a_message_of_a_gigabyte_is_not_looked_at() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**30

        def __iter__(self) -> None:  # type: ignore[override]
            raise AssertionError("was read")

    (event,) = peer(0).receive(Huge(), NOW)
    assert isinstance(event, Ignored) and event.reason == "too large"
