"""A daemon that floods is kept out for a while: by its address where that is its alone.

Nobody is kept out for what another has said or announced, and nobody for ever.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transports.daemons import until

from kubo import Kubo, Kubos
from learnae.errors import TransportError
from learnae.transports.ipfs import IpfsTransport
from learnae.transports.ipfs.barring import _AGAIN_S, BAR_S, FOLDER, Bars
from learnae.transports.ipfs.frames import Frame, Sign, encode_frame
from learnae.transports.ipfs.pubsub import SAY_BURST, SAY_PER_S, Channel
from learnae.transports.ipfs.quota import BURST, FLOOD_BURST, FLOOD_PER_S, PER_S, Quota
from learnae.transports.ipfs.rpc import Refused, Rpc

TOPIC = "learnae/1/flood"
NOW = 1000.0
EVE, BOB, OWN = "12D3KooWeve", "12D3KooWbob", "12D3KooWown"
DEADLINE_S = 30.0


class Daemon:
    """What a daemon does for `Bars`: connections, by peer and address, and filters."""

    def __init__(self, repo: Path | None, connected: dict[str, str]) -> None:
        self.repo = None if repo is None else str(repo)
        self.connected, self.filters = dict(connected), set[str]()
        self.calls: list[str] = []
        self.refused = set[str]()

    def call(self, command: str, *args: str, **_: object) -> list[Any]:
        self.calls.append(command)
        if {command, " ".join((command, *args))} & self.refused:
            raise Refused(f"{command}: not allowed")
        match command:
            case "id":
                return [{"ID": OWN}]
            case "swarm/peers":
                return [{"Peers": [{"Peer": p, "Addr": a} for p, a in self.connected.items()]}]
            case "swarm/disconnect":
                del self.connected[args[0].removeprefix("/p2p/")]
            case "swarm/filters":
                return [{"Strings": sorted(self.filters)}]
            case "swarm/filters/add":
                self.filters |= set(args)
            case "swarm/filters/rm":
                self.filters -= set(args)
            case _:
                raise AssertionError(command)
        return [{}]


def bars_of(daemon: Daemon, places: list[tuple[str, str]] | None = None) -> Bars:
    return Bars(daemon, lambda: places or [], lambda: None)  # type: ignore[arg-type]


def line(sender: str) -> bytes:
    return b'{"from":"%s","data":"u"}' % sender.encode()


# ---- who floods ----------------------------------------------------------------------------


@pytest.mark.parametrize("per_s", [FLOOD_PER_S + 60, 2000])
def test_a_flood_is_noticed_and_heard_no_more(per_s: float) -> None:
    bars = bars_of(Daemon(None, {}))
    quota = Quota(bars)
    seconds = 2 * FLOOD_BURST / (per_s - FLOOD_PER_S)
    admitted = [quota.admits(line(EVE), NOW + i / per_s) for i in range(int(per_s * seconds))]
    assert sum(admitted) <= BURST + PER_S * seconds / 2 + 1
    assert not any(admitted[-10:])
    assert EVE in bars
    assert quota.admits(line(BOB), NOW + seconds)
    assert not quota.admits(line(EVE), NOW + BAR_S / 2), "calm as it may be meanwhile"


def test_much_is_no_flood() -> None:
    bars = bars_of(Daemon(None, {}))
    quota = Quota(bars)
    for i in range(20_000):
        quota.admits(line(BOB), NOW + i / (FLOOD_PER_S - 1))
    assert BOB not in bars
    assert sum(quota.admits(line(EVE), NOW) for _ in range(int(FLOOD_BURST))) == BURST
    assert EVE not in bars, "all at once, once"


def test_what_has_waited_for_us_is_no_flood() -> None:
    """Where we read nothing for a while, all that was said meanwhile comes at once."""
    bars = bars_of(Daemon(None, {}))
    quota = Quota(bars)
    said = [i / 45 for i in range(45 * 60)]
    for at in said:
        stalled = next((end for end in (12.0, 40.0) if end - 8.0 < at < end), None)
        quota.admits(line(BOB), NOW + (at if stalled is None else stalled))
    assert BOB not in bars
    for i in range(3000):
        quota.admits(line(EVE), NOW + 60 + i / 350)
    assert EVE in bars


class SilentRpc(Rpc):
    """Takes what is published, and lets nothing be heard."""

    def __init__(self) -> None:
        super().__init__("/ip4/127.0.0.1/tcp/1")
        self.n_published = 0

    def call(self, command: str, *args: Any, **options: Any) -> list[Any]:
        assert command == "pubsub/pub"
        self.n_published += 1
        return []

    def ask(self, *args: Any, **options: Any) -> Any:
        raise TransportError("nobody there")


@pytest.mark.parametrize("sign", [Sign.ASK, Sign.BEACON])
def test_who_asks_all_the_time_holds_nobody_up(sign: Sign, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of questions, or of counters that make us ask: own messages still go out at once."""
    clock = [NOW]
    fake = SimpleNamespace(monotonic=lambda: clock[0], time_ns=time.time_ns)
    monkeypatch.setattr("learnae.transports.ipfs.pubsub.time", fake)
    rpc = SilentRpc()
    channel = Channel(rpc, TOPIC, b"peer-own", lambda: None)
    channel.close()
    channel.join()
    for i in range(8):
        channel._own.append(Frame(Sign.MESSAGE, b"peer-own", i, b"said"))
    longest_s = 0.0
    for i in range(4 * 3600):
        clock[0] = NOW + i / 4
        frame = encode_frame(Frame(sign, b"%08d" % i, 1 << 40))
        data = "u" + base64.urlsafe_b64encode(frame).decode().rstrip("=")
        channel._hear(json.dumps({"from": EVE, "data": data}).encode(), clock[0])
        channel.tick(clock[0])
        longest_s = max(longest_s, channel._spend(clock[0], 0.0))
    assert longest_s == 0.0
    assert 100 < rpc.n_published <= SAY_BURST + 3600 * SAY_PER_S


def test_four_peers_that_share_a_daemon_cannot_flood() -> None:
    """However much they have to say: 30 s at the pace that each keeps, and all bursts at once."""
    bars = bars_of(Daemon(None, {}))
    quota = Quota(bars)
    times = []
    for tag in (b"peer-%03d" % i for i in range(4)):
        channel = Channel(Rpc("/ip4/127.0.0.1/tcp/1"), TOPIC, tag, lambda: None)
        channel.close()
        now = time.monotonic()
        began = now
        while now < began + 30:
            channel._spend(now, 1.0)
            times.append(now - began)
            now += channel._spend(now, 0.0)
        channel.join()
    assert len(times) == pytest.approx(4 * (SAY_BURST + 30 * SAY_PER_S), abs=8)
    for at in sorted(times):
        quota.admits(line(BOB), NOW + at)
    assert BOB not in bars


# ---- what is done about it -----------------------------------------------------------------


def test_it_is_disconnected_and_its_address_filtered(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, {EVE: "/ip4/192.0.2.9/tcp/50123", BOB: "/ip4/192.0.2.3/tcp/4001"})
    bars = bars_of(daemon)
    bars.bar(EVE, NOW)
    bars.tick(NOW)
    assert daemon.connected == {BOB: "/ip4/192.0.2.3/tcp/4001"}
    assert daemon.filters == {"/ip4/192.0.2.9/ipcidr/32"}
    bars.tick(NOW + BAR_S)
    assert EVE not in bars


@pytest.mark.parametrize(
    ("there", "announced"),
    [
        ({BOB: "/ip4/192.0.2.9/tcp/4001"}, []),
        ({}, [(BOB, "/ip4/192.0.2.9/tcp/4001/p2p/12D3KooWbob")]),
    ],
)
def test_an_address_that_others_share_is_not_filtered(
    tmp_path: Path, there: dict[str, str], announced: list[tuple[str, str]]
) -> None:
    daemon = Daemon(tmp_path, {EVE: "/ip4/192.0.2.9/tcp/50123", **there})
    bars = bars_of(daemon, announced)
    bars.bar(EVE, NOW)
    bars.tick(NOW)
    assert (daemon.connected, daemon.filters) == (there, set())


@pytest.mark.parametrize(
    ("repo", "address"),
    [
        (True, "/ip4/127.0.0.1/tcp/50123"),
        (True, "/ip6/::1/tcp/50123"),
        (True, "/ip4/192.0.2.9/tcp/4001/p2p/12D3KooWbob/p2p-circuit"),
        (False, "/ip4/192.0.2.9/tcp/50123"),
    ],
)
def test_where_no_filter_would_do(tmp_path: Path, repo: bool, address: str) -> None:
    """This machine, somebody who relays (who is another), and a daemon that is not ours."""
    daemon = Daemon(tmp_path if repo else None, {EVE: address})
    bars = bars_of(daemon)
    bars.bar(EVE, NOW)
    bars.tick(NOW)
    assert (daemon.connected, daemon.filters) == ({}, set())


def test_who_comes_back_is_disconnected_again_and_not_too_often() -> None:
    daemon = Daemon(None, {})
    bars = bars_of(daemon)
    for i in range(400):
        now = NOW + i / 100
        daemon.connected[EVE] = "/ip4/192.0.2.9/tcp/50123"
        bars.bar(EVE, now)  # for each message that is heard of it
        bars.tick(now)
    n = daemon.calls.count("swarm/disconnect")
    assert 4 / _AGAIN_S - 2 <= n <= 4 / _AGAIN_S + 1
    daemon.calls.clear()
    daemon.connected.clear()
    for i in range(400):
        bars.tick(NOW + 4 + i / 100)
    assert len(daemon.calls) < 4, "who stays away costs a look now and then"


def test_ourselves_we_cannot_keep_out(tmp_path: Path) -> None:
    bars = bars_of(Daemon(tmp_path, {}))
    bars.bar(OWN, NOW)
    bars.tick(NOW)
    assert OWN not in bars
    bars.bar(OWN, NOW + 1)
    assert OWN not in bars


def test_a_refused_filter_keeps_nobody_in(tmp_path: Path) -> None:
    """As where Kubo's configuration may not be written."""
    daemon = Daemon(tmp_path, {EVE: "/ip4/192.0.2.9/tcp/50123"})
    daemon.refused = {"swarm/filters/add"}
    bars = bars_of(daemon)
    bars.bar(EVE, NOW)
    bars.tick(NOW)
    assert daemon.connected == {}
    assert list((tmp_path / FOLDER).iterdir()) == []


# ---- and undone ----------------------------------------------------------------------------


def test_old_filters_are_taken_back_by_whoever_finds_them(tmp_path: Path) -> None:
    """Also after a crash: Kubo keeps filters in its configuration."""
    daemon = Daemon(tmp_path, {EVE: "/ip6/2001:db8::9/tcp/50123"})
    bars = bars_of(daemon)
    bars.bar(EVE, NOW)
    bars.tick(NOW)
    daemon.filters.add("/ip4/198.51.100.0/ipcidr/24")
    assert daemon.filters == {"/ip6/2001:db8::9/ipcidr/128", "/ip4/198.51.100.0/ipcidr/24"}
    bars_of(daemon).tick(NOW)
    assert len(daemon.filters) == 2, "it is not old yet"
    (note,) = (tmp_path / FOLDER).iterdir()
    os.utime(note, (0.0, time.time() - BAR_S - 1))
    (tmp_path / FOLDER / "what is this").touch()
    os.utime(tmp_path / FOLDER / "what is this", (0.0, 0.0))
    bars_of(daemon).tick(NOW)
    assert daemon.filters == {"/ip4/198.51.100.0/ipcidr/24"}, "the user's own stays"
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_note_that_will_not_go_keeps_no_other(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, {EVE: "/ip4/192.0.2.9/tcp/50123"})
    bars = bars_of(daemon)
    bars.bar(EVE, NOW)
    bars.tick(NOW)
    assert len(daemon.filters) == 1
    (tmp_path / FOLDER / "0-a folder").mkdir()
    (tmp_path / FOLDER / "192.0.2.77").touch()
    for note in (tmp_path / FOLDER).iterdir():
        os.utime(note, (0.0, 0.0))
    daemon.refused = {"swarm/filters/rm /ip4/192.0.2.77/ipcidr/32"}
    bars_of(daemon).tick(NOW)
    assert daemon.filters == set()
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["0-a folder"]


def test_a_filter_of_the_users_is_not_ours_to_take_back(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, {EVE: "/ip4/192.0.2.9/tcp/50123"})
    daemon.filters.add("/ip4/192.0.2.9/ipcidr/32")
    bars = bars_of(daemon)
    bars.bar(EVE, NOW)
    bars.tick(NOW)
    assert not (tmp_path / FOLDER).exists()
    assert daemon.connected == {}


# ---- on real daemons -----------------------------------------------------------------------


def flood(kubo: Kubo, ended: threading.Event) -> None:
    """Publish until told otherwise, as fast as the daemon takes it."""
    rpc, topic = kubo.rpc(), "u" + base64.urlsafe_b64encode(TOPIC.encode()).decode().rstrip("=")
    body = encode_frame(Frame(Sign.MESSAGE, b"hostile!", 1, b"x" * 600))
    while not ended.is_set():
        with contextlib.suppress(Refused):  # of two at the same time one is overtaken
            rpc.call("pubsub/pub", topic, body=body)


def test_real_daemons(kubos: Kubos, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that floods is disconnected and not dialled again; others are heard as before."""
    # What a busy machine's daemon can publish at all is a flood here.
    monkeypatch.setattr("learnae.transports.ipfs.quota.FLOOD_PER_S", 10.0)
    monkeypatch.setattr("learnae.transports.ipfs.quota.FLOOD_BURST", 50.0)
    ann, bob = (IpfsTransport(str(kubos[name].repo), name) for name in ("ann", "bob"))
    eve = kubos["eve"]
    ann.reach([*bob.addresses(), *eve.addresses])
    heard = ann.subscribe(TOPIC)
    ended = threading.Event()
    threads = [threading.Thread(target=flood, args=(eve, ended)) for _ in range(2)]

    def connected() -> set[str]:
        found = kubos["ann"].rpc().call("swarm/peers")[0].get("Peers") or []
        return {entry["Peer"] for entry in found}

    try:
        until(lambda: eve.daemon.peer_id in connected(), DEADLINE_S)
        for thread in threads:
            thread.start()
        until(lambda: eve.daemon.peer_id in ann._bars, DEADLINE_S)
        until(lambda: eve.daemon.peer_id not in connected(), DEADLINE_S)
        with contextlib.suppress(TransportError):  # cut off before it is there
            kubos["eve"].connect(kubos["ann"])  # it comes back by itself
        until(lambda: eve.daemon.peer_id not in connected(), DEADLINE_S)
        heard.take()
        bob.publish(TOPIC, b"honest")
        taken: list[bytes] = []
        until(lambda: taken.extend(heard.take()) or b"honest" in taken, DEADLINE_S)
        assert kubos["bob"].daemon.peer_id in connected()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        ann.close()
        bob.close()


def test_filters_of_a_real_daemon(kubos: Kubos) -> None:
    kubo = kubos["ann"]
    rpc, place = kubo.rpc(), "/ip4/192.0.2.9/tcp/4001"
    bars = Bars(rpc, lambda: [], lambda: None)
    bars._filter(place, set(), [])

    def filters() -> object:
        return json.loads((kubo.repo / "config").read_text())["Swarm"]["AddrFilters"]

    assert filters() == ["/ip4/192.0.2.9/ipcidr/32"]
    with pytest.raises(Refused, match="gater"):
        rpc.call(
            "swarm/connect", f"{place}/p2p/12D3KooWEHhCFjcg2NxjtZwb2u8MUEjHP1kVsmGC4iFG8vbPuBCH"
        )
    bars._take_back(time.time() + BAR_S)
    assert not filters()
    assert not rpc.call("swarm/filters")[0].get("Strings")
