"""The law of the peer, row by row of docs/protocol.md."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
from swarm.actors import (
    NOW,
    OPEN,
    SCHEMA,
    announcement,
    chain,
    charter,
    hear,
    identity,
    message,
    payload_cid,
    peer,
    reasons,
    signed,
    take,
    weights,
)

from learnae.errors import StateError
from learnae.swarm import peer as module
from learnae.swarm.announcement import Kind, announcement_cid, decode_announcement
from learnae.swarm.events import (
    Adopted,
    Drop,
    Heard,
    Ignored,
    Publish,
    Reason,
)
from learnae.swarm.peer import Peer

DOC = Path(__file__).parents[2] / "docs" / "protocol.md"


# -- what is heard -------------------------------------------------------------------------


def test_a_chain_is_heard() -> None:
    events = hear(peer(0), *chain(1, 4))
    assert [e.announcement.round for e in events if isinstance(e, Heard)] == [0, 1, 2, 3]


def test_gaps_are_normal() -> None:
    first, _, third, _, fifth = chain(1, 5)
    assert reasons(hear(peer(0), first, third, fifth)) == ["heard"] * 3


@pytest.mark.parametrize(
    ("data", "reason", "claims"),
    [
        (bytes(1001), "too large", False),
        (b"", "malformed", False),
        (b"\xa0", "malformed", False),
        (signed(1)[:-1], "malformed", False),
        (signed(1, swarm_id=charter("another").swarm_id), "other swarm", True),
        (signed(1, schema_digest=bytes(32)), "other schema", True),
        (signed(1, time=NOW + 86401.0), "clock", True),
        (signed(1, time=NOW - 86401.0), "clock", True),
        (signed(1)[:-64] + identity(2).sign(b""), "forged", True),
    ],
)
def test_what_is_ignored_leaves_no_trace(data: bytes, reason: str, claims: bool) -> None:
    me = peer(0)
    before = me.snapshot()
    ignored = me.receive(data, NOW)[0]
    assert isinstance(ignored, Ignored) and ignored.reason == reason
    assert ignored.peer_id == (identity(1).peer_id if claims else None)
    assert me.snapshot() == before
    assert reasons(hear(me, signed(1))) == ["heard"]


def test_the_reason_says_what_is_malformed() -> None:
    (ignored,) = peer(0).receive(b"\xa0", NOW)
    assert isinstance(ignored, Ignored) and "announcement's keys" in ignored.detail


def test_only_members_are_heard() -> None:
    swarm = charter(members=tuple(identity(i).peer_id for i in (0, 1)))
    me = peer(0, swarm)
    assert reasons(hear(me, signed(1, swarm_id=swarm.swarm_id))) == ["heard"]
    assert reasons(hear(me, signed(2, swarm_id=swarm.swarm_id))) == ["not a member"]


def test_replays_are_ignored() -> None:
    first, second, third = chain(1, 3)
    me = peer(0)
    assert reasons(hear(me, first, first)) == ["heard", "replay"]
    assert reasons(hear(me, third, second, third, first)) == ["heard", *["replay"] * 3]


def test_the_first_of_two_with_one_sequence_stands() -> None:
    first, second, third = chain(1, 3)
    other = signed(1, sequence=2, previous=announcement_cid(first), round=77)
    me = peer(0)
    assert reasons(hear(me, first, second, other, third)) == [
        "heard",
        "heard",
        "equivocation",
        "heard",
    ]
    you = peer(2)
    fork = ["heard", "heard", "equivocation", "broken chain"]
    assert reasons(hear(you, first, other, second, third)) == fork
    assert reasons(hear(you, chain(1, 4)[3])) == ["heard"]  # a fork heals after one message


def test_a_broken_link_is_ignored() -> None:
    first = signed(1)
    unlinked = signed(1, sequence=2, previous=announcement_cid(b"something else"))
    assert reasons(hear(peer(0), first, unlinked)) == ["heard", "broken chain"]


def test_own_messages_are_ignored() -> None:
    me = peer(0)
    data = message(weights(me, 1))
    assert reasons(hear(me, data)) == ["own message"]


def test_lost_state_is_adopted() -> None:
    lost = peer(0)
    other = peer(1)
    for round_ in range(3):
        head = message(weights(lost, round_))
        hear(other, head)
    again = peer(0)
    first = message(weights(again, 0))
    assert reasons(hear(other, first)) == ["replay"]
    assert again.receive(head, NOW + 1e8) == [Adopted(3, head)]
    assert (again.sequence, again.head) == (3, head)
    assert again.published[-1] == decode_announcement(head).payload
    assert reasons(hear(other, message(weights(again, 1)))) == ["heard"]


def test_nobody_else_can_make_us_adopt() -> None:
    forged = signed(0, sequence=9, previous=announcement_cid(b""))[:-64] + bytes(64)
    me = peer(0)
    assert reasons(hear(me, forged)) == ["forged"]
    assert me.sequence == 0


def test_every_reason_is_in_the_document() -> None:
    text = DOC.read_text()
    named = re.findall(r"(?:Ignored|Rejected)\(\"([a-z ]+)\"", text)
    assert set(named) == {str(reason) for reason in Reason}


# -- what is said --------------------------------------------------------------------------


def test_announcements_are_chained_and_old_payloads_dropped() -> None:
    me = peer(0, charter(keep=2))
    events = [weights(me, round_) for round_ in range(4)]
    said = [decode_announcement(message(e)) for e in events]
    assert [a.sequence for a in said] == [1, 2, 3, 4]
    assert [a.previous for a in said] == [
        None,
        *(announcement_cid(message(e)) for e in events[:3]),
    ]
    assert [[e.cid for e in es if isinstance(e, Drop)] for es in events] == [
        [],
        [],
        [said[0].payload],
        [said[1].payload],
    ]
    assert me.published == (said[2].payload, said[3].payload)
    topics = {e.topic for es in events for e in es if isinstance(e, Publish)}
    assert topics == {me.charter.topic}


@pytest.mark.parametrize(("keep", "stay"), [(1, 1), (2, 1), (4, 3)])
def test_room_for_the_next_payload(keep: int, stay: int) -> None:
    me = peer(0, charter(keep=keep))
    assert me.make_room() == []
    for round_ in range(keep + 2):
        weights(me, round_)
    published = me.published
    drops = me.make_room()
    assert drops == [Drop(cid) for cid in published[: keep - stay]]
    assert me.published == published[keep - stay :]
    assert me.make_room() == [], "whoever fails to store it asks again"
    weights(me, 99)
    assert len(me.published) == keep
    assert me.published[:-1] == published[1:]


def test_a_payload_announced_again_is_kept() -> None:
    me = peer(0, charter(keep=2))
    said = [
        me.announce(
            payload_cid(name),
            kind=Kind.WEIGHTS,
            round=0,
            samples=1,
            loss=None,
            addresses=(),
            now=NOW,
        )
        for name in "abab"
    ]
    assert [len(events) for events in said] == [1, 1, 1, 1]
    assert me.published == (payload_cid("a"), payload_cid("b"))


def test_hello_and_bye_carry_no_payload() -> None:
    me, you = peer(0), peer(1)
    common = dict(round=0, samples=0, loss=None, addresses=(), now=NOW)
    hello = me.announce(None, kind=Kind.HELLO, **common)  # type: ignore[arg-type]
    assert reasons(hear(you, message(hello))) == ["heard"]
    assert you.wanted(NOW) == []
    with pytest.raises(ValueError, match="payload must be"):
        me.announce(payload_cid("x"), kind=Kind.BYE, **common)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="payload must be"):
        me.announce(None, kind=Kind.WEIGHTS, **common)  # type: ignore[arg-type]
    assert me.sequence == 1  # nothing has changed


def test_too_many_addresses_are_left_out() -> None:
    me = peer(0)
    addresses = [f"/ip4/10.0.0.{i}/tcp/4001" for i in range(50)]
    events = me.announce(
        None, kind=Kind.HELLO, round=0, samples=0, loss=1, addresses=addresses, now=NOW
    )
    said = decode_announcement(message(events))
    assert said.addresses == tuple(addresses[:8]) and said.loss == 1.0


def test_republish_repeats_and_renews() -> None:
    me, you = peer(0), peer(1)
    assert me.republish(NOW) == []
    head = message(weights(me, 5))
    assert me.republish(NOW + 40_000) == [Publish(OPEN.topic, head)]
    (renewed,) = me.republish(NOW + 50_000)
    assert isinstance(renewed, Publish)
    said = decode_announcement(renewed.data)
    assert (said.sequence, said.time, said.previous) == (2, NOW + 50_000, announcement_cid(head))
    assert replace(said, sequence=1, previous=None, time=NOW) == decode_announcement(head)
    assert reasons(hear(you, renewed.data, now=NOW + 60_000)) == ["heard"]


# -- restart -------------------------------------------------------------------------------


def test_the_head_on_disk_is_published_again() -> None:
    me = peer(0, charter(keep=1))
    weights(me, 1)
    checkpoint = me.snapshot()
    weights(me, 2)
    head = message(weights(me, 3))
    again = Peer(me.charter, identity(0), SCHEMA, checkpoint)
    events = again.restore_head(head)
    assert events == [Publish(me.charter.topic, head), Drop(checkpoint.published[0])]
    assert again.sequence == 3 and again.published == me.published
    assert decode_announcement(message(weights(again, 2))).sequence == 4


def test_a_head_older_than_the_state_is_nothing() -> None:
    me = peer(0)
    old = message(weights(me, 1))
    new = message(weights(me, 2))
    assert me.restore_head(old) == [] and me.head == new
    assert me.restore_head(new) == [Publish(OPEN.topic, new)] and me.sequence == 2


def test_a_head_that_is_not_ours_is_ignored() -> None:
    me = peer(0)
    assert reasons(me.restore_head(b"damaged")) == ["malformed"]
    assert reasons(me.restore_head(signed(1))) == ["forged"]
    assert reasons(me.restore_head(signed(0)[:-64] + bytes(64))) == ["forged"]
    assert reasons(me.restore_head(signed(0, swarm_id=bytes(32)))) == ["other swarm"]
    assert me.sequence == 0


def test_a_restored_peer_goes_on_as_if_nothing_had_happened() -> None:
    me, you = peer(0), peer(1)
    for round_ in range(3):
        me.advance(round_)
        hear(me, message(weights(you, round_)))
        take(me)
        weights(me, round_)
    hear(me, message(weights(you, 3)))
    again = Peer(OPEN, identity(0), SCHEMA, me.snapshot())
    assert again.snapshot() == me.snapshot()
    assert again.contributions() == me.contributions()
    later = message(weights(you, 4))
    for one in (me, again):
        hear(one, later)
    assert again.wanted(NOW) == me.wanted(NOW)
    assert weights(again, 9) == weights(me, 9)


def test_an_offer_survives_a_restart() -> None:
    me, you = peer(0), peer(1)
    data = message(weights(you, 1))
    hear(me, data)
    (fetch,) = me.wanted(NOW)  # under way when we are killed
    again = Peer(OPEN, identity(0), SCHEMA, me.snapshot())
    assert reasons(hear(again, data)) == ["replay"]
    assert again.wanted(NOW) == [fetch]


def test_a_state_of_another_swarm_or_key_is_refused() -> None:
    state = peer(0).snapshot()
    with pytest.raises(StateError, match="another swarm or key: give the charter"):
        Peer(charter("another"), identity(0), SCHEMA, state)
    with pytest.raises(StateError, match="another swarm or key"):
        Peer(OPEN, identity(1), SCHEMA, state)


# -- the shape of the thing ----------------------------------------------------------------


def test_no_input_or_output_inside() -> None:
    forbidden = {
        "socket",
        "asyncio",
        "threading",
        "time",
        "random",
        "logging",
        "jax",
        "numpy",
        "os",
    }
    folder = Path(module.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & forbidden, path


def test_the_same_inputs_give_the_same_outputs() -> None:
    def run() -> list[object]:
        me = peer(0)
        seen: list[object] = []
        for round_ in range(5):
            me.advance(round_)
            for number in range(1, 6):
                data = chain(number, 5)[round_]
                seen += me.receive(data, NOW + round_)
            for fetch in me.wanted(NOW):
                seen += [fetch, *me.fetched(fetch, round_ % 2 == 0, None, NOW)]
            seen += weights(me, round_)
        return [*seen, me.snapshot().to_bytes(), announcement()]

    assert run() == run()
