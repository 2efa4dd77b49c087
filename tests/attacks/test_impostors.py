"""Attack: speak for somebody else, or say two things at once."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from swarm.actors import (
    NOW,
    OPEN,
    SCHEMA,
    announcement,
    chain,
    charter,
    identity,
    message,
    payload_cid,
    peer,
    signed,
    weights,
)

from learnae.swarm import dagcbor
from learnae.swarm.announcement import announcement_cid, encode_announcement
from learnae.swarm.events import Event, Heard, Ignored
from learnae.swarm.peer import Peer
from learnae.swarm.trust import Identity, peer_id_of, verify

ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group


def reason(events: list[Event]) -> str:
    (event,) = events
    return str(event.reason) if isinstance(event, Ignored) else "heard"


def test_mallory_signs_in_alices_name() -> None:
    """Mallory takes Alice's announcement, names her own payload, and signs with her own key."""
    content = dagcbor.decode(signed(1))
    content["payload"] = dagcbor.Link(payload_cid("poison"))
    del content["signature"]
    unsigned = dagcbor.encode(content)
    content["signature"] = identity(2).sign(b"learnae/announcement/1\n" + unsigned)
    me = peer(0)
    assert reason(me.receive(dagcbor.encode(content), NOW)) == "forged"
    assert me.known == ()


def test_mallory_puts_a_good_signature_on_other_words() -> None:
    """A signature is over all of one announcement: none fits another."""
    first, second = chain(1, 2)
    assert reason(peer(0).receive(second[:-64] + first[-64:], NOW)) == "forged"


def test_a_signature_made_for_something_else() -> None:
    """Alice's key also signs other things. Without the prefix one of these could be a message."""
    content = dagcbor.decode(signed(1))
    content["payload"] = dagcbor.Link(content["payload"])
    del content["signature"]
    content["signature"] = identity(1).sign(dagcbor.encode(content))
    assert reason(peer(0).receive(dagcbor.encode(content), NOW)) == "forged"


def test_a_signature_in_two_forms() -> None:
    """Malleability: adding the group's order to S would make other bytes of one signature."""
    data = signed(1)
    s = int.from_bytes(data[-32:], "little") + ORDER
    assert s < 2**256
    assert reason(peer(0).receive(data[:-32] + s.to_bytes(32, "little"), NOW)) == "forged"


def test_two_announcements_under_one_sequence() -> None:
    """Mallory tells half of the swarm one thing and the other half another.

    Everybody keeps what came first; when the second comes by it is ignored, and which of the
    two was heard does not matter any more after her next but one.
    """
    first = signed(2)
    a = signed(2, sequence=2, previous=announcement_cid(first), payload=payload_cid("a"))
    b = signed(2, sequence=2, previous=announcement_cid(first), payload=payload_cid("b"))
    left, right = peer(0), peer(1)
    for one, mine, other in ((left, a, b), (right, b, a)):
        assert reason(one.receive(first, NOW)) == "heard"
        assert reason(one.receive(mine, NOW)) == "heard"
        assert reason(one.receive(other, NOW)) == "equivocation"
    assert left.known[0].offer != right.known[0].offer
    third = signed(2, sequence=3, previous=announcement_cid(a))
    fourth = signed(2, sequence=4, previous=announcement_cid(third))
    assert [reason(right.receive(data, NOW)) for data in (third, fourth)] == [
        "broken chain",
        "heard",
    ]


def test_the_same_words_signed_twice() -> None:
    """Ed25519 lets the owner of a key sign one message in many ways, by another nonce.

    The bytes differ and so does the CID, but the sequence does not: it is an equivocation.
    """
    data = signed(2)
    nonce = int.from_bytes(hashlib.sha512(b"another nonce").digest(), "little") % ORDER
    again = data[:-64] + sign_with_nonce(2, data, nonce)
    me = peer(0)
    assert again != data
    assert reason(me.receive(data, NOW)) == "heard"
    assert reason(me.receive(again, NOW)) == "equivocation"
    assert reason(peer(1).receive(again, NOW)) == "heard"  # it is a right signature


def sign_with_nonce(number: int, data: bytes, nonce: int) -> bytes:
    """Sign as RFC 8032 does, but with a nonce of one's own; R = nonce * B by a helper key."""
    secret = hashlib.sha512(identity(number).private_bytes()).digest()
    scalar = bytearray(secret[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    content = dagcbor.decode(data)
    content["payload"] = dagcbor.Link(content["payload"])
    del content["signature"]
    text = b"learnae/announcement/1\n" + dagcbor.encode(content)
    point = multiple_of_base(nonce)
    public = dagcbor.decode(data)["peer"]
    challenge = int.from_bytes(hashlib.sha512(point + public + text).digest(), "little") % ORDER
    s = (nonce + challenge * int.from_bytes(scalar, "little")) % ORDER
    signature = point + s.to_bytes(32, "little")
    assert verify(identity(number).peer_id, text, signature)
    return signature


def multiple_of_base(k: int) -> bytes:
    """Return k * B on edwards25519, encoded (affine formulas: slow and plain)."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    by = 4 * pow(5, -1, p) % p
    bx = 15112221349535400772501151409588531511454012693041857206046113283949847762202
    total, add = (0, 1), (bx, by)

    def plus(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        t = d * a[0] * b[0] * a[1] * b[1] % p
        return (
            (a[0] * b[1] + b[0] * a[1]) * pow(1 + t, -1, p) % p,
            (a[1] * b[1] + a[0] * b[0]) * pow(1 - t, -1, p) % p,
        )

    while k:
        if k & 1:
            total = plus(total, add)
        add = plus(add, add)
        k >>= 1
    return (total[1] | (total[0] & 1) << 255).to_bytes(32, "little")


def test_a_message_carried_to_another_swarm() -> None:
    """Alice is in two swarms; what she says in one must not count in the other."""
    other = charter("another", fan_in=3)
    data = message(weights(peer(1, other), 1))
    assert reason(peer(0).receive(data, NOW)) == "other swarm"


def test_an_outsider_in_a_closed_swarm() -> None:
    closed = charter(members=(identity(0).peer_id, identity(1).peer_id))
    outsider = Peer(closed, identity(7), SCHEMA)
    me = Peer(closed, identity(0), SCHEMA)
    assert reason(me.receive(message(weights(outsider, 1)), NOW)) == "not a member"
    assert me.known == ()


def test_a_model_of_another_shape() -> None:
    """A payload of another schema could not be averaged: its sender is not fetched from."""
    me = peer(0)
    assert reason(me.receive(signed(1, schema_digest=bytes(32)), NOW)) == "other schema"
    assert me.wanted(NOW) == []


def test_weak_keys_hurt_nobody_else() -> None:
    """With a key of small order everybody can sign: such an identity is worth nothing.

    But it is only itself that it gives away, and no key that was made by us is one.
    """
    weak = peer_id_of(b"\x01" + bytes(31))
    made = {Identity.generate().peer_id for _ in range(5)}
    assert weak not in made
    key = Ed25519PrivateKey.generate()
    assert not verify(peer_id_of(key.public_key().public_bytes_raw()), b"", bytes(64))


def test_an_outsiders_addresses_do_not_stop_a_members_payload() -> None:
    """Mallory announces Alice's CID with addresses that lead nowhere.

    Were failures noted by CID alone, four failed attempts would shut out Alice's model too.
    """
    cid = payload_cid("alice")
    me = peer(0)
    me.receive(signed(2, payload=cid, addresses=("/ip4/192.0.2.1/tcp/1",)), NOW)
    now = NOW
    for _ in range(4):
        for fetch in me.wanted(now):
            me.fetched(fetch, False, "no route", now, reachable=False)
        now += 20.0
    assert me.wanted(now) == []
    me.receive(signed(1, payload=cid), NOW)
    assert [fetch.peer_id for fetch in me.wanted(now)] == [identity(1).peer_id]


def test_the_victims_own_key_cannot_be_forged() -> None:
    """A message in our own name with a higher sequence makes us skip numbers: if it is ours."""
    me = peer(0)
    weights(me, 1)
    forged = announcement(0, sequence=2**53 - 1, previous=announcement_cid(b"x"))
    data = encode_announcement(forged, identity(0))
    assert reason(me.receive(data[:-64] + bytes(64), NOW)) == "forged"
    assert me.sequence == 1


def test_everything_right_is_heard() -> None:
    """The other tests prove something only if the same steps without the attack succeed."""
    me = peer(0)
    assert isinstance(me.receive(signed(1, swarm_id=OPEN.swarm_id), NOW)[0], Heard)
