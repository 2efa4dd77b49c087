"""Invites: what is written is read, and every damage is one line."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.errors import InviteError
from learnae.swarm import dagcbor
from learnae.swarm.invite import Invite, _check, decode_invite, encode_invite, looks_like_invite

DIGEST = st.binary(min_size=32, max_size=32)
CID = st.tuples(st.sampled_from([b"\x01\x55\x12\x20", b"\x01\x70\x12\x20"]), DIGEST).map(b"".join)
ADDRESS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
INVITES = st.builds(Invite, DIGEST, CID, DIGEST, st.lists(ADDRESS, max_size=8).map(tuple))
ONE = Invite(b"s" * 32, b"\x01\x55\x12\x20" + b"c" * 32, b"k" * 32, ("/ip4/192.0.2.1/tcp/4001",))
GOLDEN = (
    "learnae1_pGNrZXlYIGtra2tra2tra2tra2tra2tra2tra2tra2tra2tra2trZXN3YXJtWCBzc3Nzc3Nzc3Nzc3N"
    "zc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc2djaGFydGVy2CpYJQABVRIgY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2N"
    "jY2NpYWRkcmVzc2VzgXcvaXA0LzE5Mi4wLjIuMS90Y3AvNDAwMQFd9_c"
)


def signed(content: object) -> str:
    data = dagcbor.encode(content)
    return "learnae1_" + base64.urlsafe_b64encode(data + _check(data)).decode().rstrip("=")


@settings(deadline=None)
@given(INVITES)
def test_what_is_written_is_read(invite: Invite) -> None:
    text = encode_invite(invite)
    assert decode_invite(text) == invite
    assert looks_like_invite(text)
    assert len(text) < 1200
    assert text.replace("_", "").replace("-", "").isalnum(), "nothing to quote or to escape"
    folded = "\n".join(text[i : i + 70] for i in range(0, len(text), 70))
    assert decode_invite(f"  {folded}\r\n") == invite


def test_format_does_not_change() -> None:
    assert encode_invite(ONE) == GOLDEN


def test_the_key_is_not_shown() -> None:
    assert "kkkk" not in repr(ONE)


def test_addresses_without_room_are_left_out() -> None:
    many = Invite(ONE.swarm_id, ONE.charter, ONE.key, tuple(f"/dns/{i:0100d}" for i in range(20)))
    assert decode_invite(encode_invite(many)).addresses == many.addresses[:5]


@settings(max_examples=300, deadline=None)
@given(INVITES, st.data())
def test_every_damage_is_noticed(invite: Invite, draw: st.DataObject) -> None:
    text = encode_invite(invite)
    at = draw.draw(st.integers(0, len(text) - 1))
    letter = draw.draw(st.sampled_from("abcXYZ019-_=+/.\x00é"))
    for changed in (text[:at], text[:at] + letter + text[at + 1 :], text + letter):
        if changed != text:
            with pytest.raises(InviteError) as caught:
                decode_invite(changed)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 200


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda b: b.decode("latin1")))
def test_any_text_is_refused(text: str) -> None:
    for case in (text, "learnae1_" + text):
        with pytest.raises(InviteError):
            decode_invite(case)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("swarm.toml", "not an invite"),
        ("learnae2_pGNrZXlY", "version 2.*install"),
        (encode_invite(ONE)[:-1], "cut short"),
        ("learnae1_" + "a" * 5000, "too many"),
        ("learnae1_", "cut short"),
    ],
)
def test_mistakes_have_their_cure(text: str, line: str) -> None:
    with pytest.raises(InviteError, match=line):
        decode_invite(text)


@pytest.mark.parametrize(
    "change",
    [
        {"key": b"short"}, {"swarm": None}, {"charter": b"x"}, {"addresses": ["x" * 300]},
        {"addresses": [1]}, {"addresses": "text"}, {"more": 1}, {"charter": ONE.charter},
    ],
)  # fmt: skip
def test_whole_but_not_ours(change: dict[str, object]) -> None:
    content: dict[str, object] = {
        "addresses": list(ONE.addresses), "charter": dagcbor.Link(ONE.charter), "key": ONE.key,
        "swarm": ONE.swarm_id,
    }  # fmt: skip
    assert decode_invite(signed(content)) == ONE
    with pytest.raises(InviteError, match="not one that learnae makes"):
        decode_invite(signed({**content, **change}))
