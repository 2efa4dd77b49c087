"""The announcement: what is written is read, its size, its form on the wire."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libipld import decode_dag_cbor, encode_dag_cbor
from swarm.actors import ADDRESS, NOW, announcement, identity, payload_cid, signed

from learnae.errors import AnnouncementError
from learnae.swarm import announcement as module
from learnae.swarm.announcement import (
    MAX_ANNOUNCEMENT_NBYTES,
    Announcement,
    Kind,
    announcement_cid,
    decode_announcement,
    encode_announcement,
)
from learnae.swarm.fields import (
    MAX_ADDRESSES,
    MAX_ADDRESSES_NBYTES,
    MAX_ROUND,
    MAX_SAMPLES,
    MAX_SEQUENCE,
    fit_addresses,
)
from learnae.swarm.sections import CODECS
from learnae.swarm.trust import verify

DOC = Path(__file__).parents[2] / "docs" / "announcement.md"
WORST_SEQUENCE = dict(sequence=MAX_SEQUENCE, previous=announcement_cid(b"earlier"))
WORST = dict(
    **WORST_SEQUENCE,
    round=MAX_ROUND,
    samples=MAX_SAMPLES,
    loss=-1.5e300,
    codec="bf16",
    payload=b"\x01\x70\x12\x20" + bytes(32),
    time=1e11,
)

cids = st.binary(min_size=32, max_size=32)
addresses = st.lists(st.text(min_size=1, max_size=60), max_size=MAX_ADDRESSES).map(fit_addresses)


@st.composite
def announcements(draw: st.DrawFn) -> Announcement:
    sequence = draw(st.integers(1, MAX_SEQUENCE))
    kind = draw(st.sampled_from(Kind))
    link = None if sequence == 1 else b"\x01\x71\x12\x20" + draw(cids)
    head = draw(st.sampled_from([b"\x01\x55\x12\x20", b"\x01\x70\x12\x20"]))
    return Announcement(
        swarm_id=draw(cids),
        peer_id=identity(draw(st.integers(0, 5))).peer_id,
        sequence=sequence,
        previous=link,
        kind=kind,
        round=draw(st.integers(0, MAX_ROUND)),
        payload=head + draw(cids) if kind.has_payload else None,
        schema_digest=draw(cids),
        codec=draw(st.sampled_from(CODECS)),
        samples=draw(st.integers(0, MAX_SAMPLES)),
        loss=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        addresses=draw(addresses),
        time=draw(st.floats(0, 1e11)),
    )


def owner(a: Announcement) -> int:
    return next(number for number in range(6) if identity(number).peer_id == a.peer_id)


@given(announcements())
@settings(max_examples=500)
def test_what_is_written_is_read(a: Announcement) -> None:
    data = encode_announcement(a, identity(owner(a)))
    assert len(data) <= MAX_ANNOUNCEMENT_NBYTES
    assert decode_announcement(data) == a
    assert encode_announcement(a, identity(owner(a))) == data


@pytest.mark.parametrize("n_addresses", range(1, MAX_ADDRESSES + 1))
def test_the_largest_announcement_fits(n_addresses: int) -> None:
    room = MAX_ADDRESSES_NBYTES
    longest = []
    for left in range(n_addresses, 0, -1):
        length = min(255, room // left - 2)
        longest.append("x" * length)
        room -= length + 2
    data = signed(0, **WORST, addresses=tuple(longest))
    assert len(data) <= MAX_ANNOUNCEMENT_NBYTES
    assert decode_announcement(data).addresses == tuple(longest)


def test_the_sizes_in_the_document_are_right() -> None:
    text = DOC.read_text()
    (fixed,) = re.findall(r"Everything but the addresses takes at most (\d+) bytes", text)
    (total,) = re.findall(r"most \d+, header included: (\d+) in all", text)
    assert len(signed(0, **WORST, addresses=())) - 1 == int(fixed)
    spread = ("x" * 185, "y" * 185, "z" * 184)
    assert sum(len(a) + 2 for a in spread) == MAX_ADDRESSES_NBYTES
    assert len(signed(0, **WORST, addresses=spread)) == int(total) <= MAX_ANNOUNCEMENT_NBYTES


def test_the_document_names_every_field_in_order() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (?:DAG|integer|bytes|link|string|list|float)", DOC.read_text(), re.M
    )
    assert set(rows) == decode_dag_cbor(signed()).keys()
    renamed = {"swarm_id": "swarm", "peer_id": "peer", "schema_digest": "schema"}
    own = [renamed.get(field.name, field.name) for field in fields(Announcement)]
    assert rows == ["version", *own, "signature"]


def test_too_many_addresses_are_named() -> None:
    with pytest.raises(ValueError, match=r"addresses must be at most 8.*fewer or shorter"):
        signed(0, addresses=(ADDRESS,) * 9)
    with pytest.raises(ValueError, match=r"with at most 560 bytes.*fewer or shorter"):
        signed(0, addresses=("x" * 250,) * 3)


def test_addresses_that_fit_are_kept_in_order() -> None:
    assert fit_addresses(["a" * 255, "", "b" * 256, "c" * 255, "d" * 255, "e"]) == (
        "a" * 255,
        "c" * 255,
        "e",
    )
    assert len(fit_addresses(f"{i}" for i in range(20))) == MAX_ADDRESSES
    assert fit_addresses(["\ud800"]) == ()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"swarm_id": b"short"}, "swarm"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": 2}, "previous"),
        ({"previous": announcement_cid(b"")}, "previous"),
        ({"sequence": 2, "previous": payload_cid("not an announcement")}, "previous"),
        ({"sequence": True}, "sequence"),
        ({"kind": "weights"}, "kind"),
        ({"round": MAX_ROUND + 1}, "round"),
        ({"round": -1}, "round"),
        ({"payload": None}, "payload"),
        ({"kind": Kind.BYE}, "payload"),
        ({"payload": announcement_cid(b"")}, "payload"),
        ({"payload": payload_cid("x") + b"y"}, "payload"),
        ({"schema_digest": bytes(31)}, "schema"),
        ({"codec": "f64"}, "codec"),
        ({"samples": MAX_SAMPLES + 1}, "samples"),
        ({"samples": 1.0}, "samples"),
        ({"loss": float("nan")}, "loss"),
        ({"loss": float("inf")}, "loss"),
        ({"loss": 1}, "loss"),
        ({"addresses": ("",)}, "addresses"),
        ({"addresses": ("x" * 256,)}, "addresses"),
        ({"time": -1.0}, "time"),
        ({"time": float("inf")}, "time"),
        ({"time": 5}, "time"),
    ],
)
def test_a_field_out_of_range_is_not_sent(changes: dict[str, object], names: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be sent: {names} must be"):
        signed(0, **changes)


def test_nobody_signs_for_another() -> None:
    with pytest.raises(ValueError, match="another peer's"):
        encode_announcement(announcement(0), identity(1))


def test_it_is_plain_dag_cbor_with_links() -> None:
    data = signed(0, **WORST_SEQUENCE)
    content = decode_dag_cbor(data)
    assert encode_dag_cbor(content) == data  # libipld writes the same, links included
    assert data.count(b"\xd8\x2a\x58\x25\x00") == 2
    assert announcement_cid(data) == b"\x01\x71\x12\x20" + hashlib.sha256(data).digest()
    assert content["time"] == NOW and content["kind"] == "weights"


def test_the_signature_is_over_the_prefix_and_the_map_without_it() -> None:
    data = signed(0)
    content = decode_dag_cbor(data)
    signature = content.pop("signature")
    message = b"learnae/announcement/1\n" + encode_dag_cbor(content)
    assert verify(identity(0).peer_id, message, signature)
    assert not verify(identity(0).peer_id, message[23:], signature)


def test_bytes_that_look_like_a_cid_stay_bytes() -> None:
    # 01 71 12 1c + 28 bytes is a whole CID of 32 bytes: libipld would write it as a link.
    looks = b"\x01\x71\x12\x1c" + bytes(28)
    data = signed(0, swarm_id=looks, schema_digest=looks)
    assert decode_announcement(data).swarm_id == looks
    assert data.count(b"\xd8\x2a") == 1  # the payload alone
    again = encode_dag_cbor(decode_dag_cbor(data))
    assert again.count(b"\xd8\x2a") == 3
    with pytest.raises(AnnouncementError, match="canonical"):
        decode_announcement(again)


def test_a_loss_of_minus_zero_can_be_said() -> None:
    """DAG-CBOR has no negative zero, but arithmetic does."""
    assert signed(0, loss=-0.0, time=-0.0) == signed(0, loss=0.0, time=0.0)
    assert decode_announcement(signed(0, loss=-0.0)).loss == 0.0


def test_all_names_exist() -> None:
    assert all(hasattr(module, name) for name in module.__all__)
