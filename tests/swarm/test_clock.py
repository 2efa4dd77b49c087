"""Whose clock is wrong: future times tell at once, past ones only if their clock runs."""

from __future__ import annotations

from swarm.actors import NOW, message, peer, weights

from learnae.swarm.clock import ClockWatch
from learnae.swarm.events import ClockSuspect, Heard, Ignored

DAY = 86400.0


def watch() -> ClockWatch:
    return ClockWatch(DAY)


def test_a_message_from_the_future_is_suspicious_at_once() -> None:
    assert watch().see("a", NOW + 5 * DAY, NOW) == ClockSuspect(5 * DAY, 1)
    assert watch().see("a", NOW + DAY, NOW) is None  # within bounds


def test_it_is_said_once() -> None:
    clock = watch()
    assert clock.see("a", NOW + 5 * DAY, NOW) is not None
    assert clock.see("a", NOW + 5 * DAY + 1, NOW + 1) is None
    assert clock.see("b", NOW + 5 * DAY + 1, NOW + 1) is None


def test_it_takes_a_majority() -> None:
    clock = watch()
    assert clock.see("right", NOW, NOW) is None
    assert clock.see("wrong 1", NOW + 3 * DAY, NOW) is None  # one of two is no majority
    assert clock.see("wrong 2", NOW + 4 * DAY, NOW) == ClockSuspect(4 * DAY, 2)


def test_one_peer_has_one_voice() -> None:
    clock = watch()
    for peer_id in ("a", "b", "c"):
        clock.see(peer_id, NOW, NOW)
    assert all(clock.see("d", NOW + 2 * DAY + i, NOW) is None for i in range(100))


def test_those_ahead_and_those_behind_do_not_add_up() -> None:
    clock = watch()
    clock.see("right", NOW, NOW)
    clock.see("behind", NOW - 3 * DAY, NOW)
    clock.see("ahead", NOW + 3 * DAY, NOW)
    assert clock.see("behind", NOW - 3 * DAY + 1, NOW + 1) is None


def test_old_announcements_are_no_evidence() -> None:
    """A swarm is resumed after a week: the transport hands over what it has kept."""
    clock = watch()
    for age in range(10, 0, -1):
        for peer_id in ("a", "b"):
            assert clock.see(peer_id, NOW - 7 * DAY - age, NOW) is None
    # even where the transport needs some seconds for it
    assert clock.see("c", NOW - 7 * DAY - 500, NOW) is None
    assert clock.see("c", NOW - 7 * DAY - 100, NOW + 3) is None


def test_a_running_clock_behind_ours_is_evidence() -> None:
    clock = watch()
    for age in range(10, 0, -1):  # what was kept comes first, in one go
        assert clock.see("a", NOW - 7 * DAY - age, NOW) is None
    assert clock.see("a", NOW - 7 * DAY, NOW + 0.05) is None  # too soon to tell
    suspect = clock.see("a", NOW - 7 * DAY + 1, NOW + 1)
    assert suspect == ClockSuspect(-7 * DAY, 1)


def test_the_suspicion_can_come_back() -> None:
    clock = watch()
    assert clock.see("a", NOW + 3 * DAY, NOW) is not None
    assert clock.see("a", NOW, NOW) is None
    assert clock.see("a", NOW + 3 * DAY, NOW) is not None


def test_it_is_bounded() -> None:
    clock = watch()
    for number in range(5000):
        clock.see(str(number), NOW, NOW)
    assert len(clock._sights) == 1024 == sum(clock._votes.values())


def test_a_peer_reports_it_beside_the_ignored_message() -> None:
    me, you, they = peer(0), peer(1), peer(2)
    early = message(weights(you, 1, now=NOW + 10 * DAY))
    events = me.receive(early, NOW)
    assert isinstance(events[0], Ignored) and events[0].reason == "clock"
    assert events[1:] == [ClockSuspect(10 * DAY, 1)]
    assert [type(e) for e in me.receive(message(weights(they, 1)), NOW)] == [Heard]
    # Nothing was recorded of the early one: when its time has come it is heard.
    assert isinstance(me.receive(early, NOW + 10 * DAY)[0], Heard)


def test_forged_times_do_not_count() -> None:
    early = message(weights(peer(1), 1, now=NOW + 10 * DAY))
    assert len(peer(0).receive(early[:-64] + bytes(64), NOW)) == 1
