"""The sealed transport: the contract over others, and what an outsider can see and do."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transports.contract import TOPIC, Harness, TransportContract, sample
from transports.nodes_contract import NodesContract

from learnae.errors import NotFound, TransportError
from learnae.swarm.dagcbor import decode
from learnae.transports import DirectoryTransport, MemoryNetwork, Transport, cid_of, cid_text
from learnae.transports.cid import node_cid
from learnae.transports.envelope import Envelopes, Previous
from learnae.transports.sealed import MAX_SEALED_MESSAGE_NBYTES, SealedNodes, seal_transport
from learnae.transports.sealing import ObjectSeal, sealed_nbytes
from learnae.transports.seam import MAX_MESSAGE_NBYTES, Nodes, Reaching

KEY, SWARM = bytes(range(32)), bytes(range(32, 64))
SEAL = ObjectSeal(KEY, SWARM)
GOLDEN_OBJECT = "47bfba5f7f04deab8046d16e5f4cdb5885fbd29a3482eb8ea3b4a9de5de24514"
GOLDEN_MESSAGE = (
    "a1667365616c6564582701148e4c14062dfce8b109aafedbdb8caced5d"
    "a923aea48b7e6b041033ac59a263d5c6aef70337"
)
GOLDEN_LINKED = "10caec0561804013b72ad0aa206c5bbd11a590cf34314660ff6f80c8bb1b3a97"


class SealedContract(TransportContract):
    MAX_MESSAGE_NBYTES = MAX_SEALED_MESSAGE_NBYTES

    def name_of(self, data: bytes) -> bytes:
        return cid_of(SEAL.seal(data))

    def stored_nbytes(self, n: int) -> int:
        return sealed_nbytes(n)


class MemoryHarness:
    def __init__(self, folder: Path) -> None:
        self.network = MemoryNetwork(seed=7)
        self.folder = folder

    def open(self, name: str) -> Transport:
        return seal_transport(
            self.network.endpoint(name), KEY, SWARM, last=self.folder / f"{name}.chain"
        )

    def damage(self, owner: str, cid: bytes) -> None:
        self.network.faults = dataclasses.replace(self.network.faults, damage=1.0)


class DirectoryHarness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name: str) -> Transport:
        return seal_transport(DirectoryTransport(self.folder, name), KEY, SWARM)

    def damage(self, owner: str, cid: bytes) -> None:
        path = self.folder / "objects" / owner / cid_text(cid)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)


class TestSealedMemory(SealedContract, NodesContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return MemoryHarness(tmp_path)


class TestSealedDirectory(SealedContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return DirectoryHarness(tmp_path)

    def test_has_no_nodes_where_there_are_none_below(self, ann: Transport) -> None:
        assert not isinstance(ann, Nodes)
        assert isinstance(ann, Reaching)
        ann.reach(["/ip4/127.0.0.1/tcp/1"])


def pair(network: MemoryNetwork, key: bytes = KEY) -> tuple[SealedNodes, Transport]:
    """Return a member, and somebody who is on the same network without the key."""
    member = seal_transport(network.endpoint("member"), key, SWARM)
    assert isinstance(member, SealedNodes)
    return member, network.endpoint("outsider")


def test_an_outsider_learns_size_and_time_only() -> None:
    member, outsider = pair(MemoryNetwork(1))
    heard = outsider.subscribe(TOPIC)
    model = b"weights " * 1000
    cid = member.put(model)
    announcements = [b"announcement %d of " % i + cid for i in range(3)]
    for announcement in announcements:
        member.put_node(announcement)
        member.publish(TOPIC, announcement)
    stored = bytes(outsider.get(cid, 10**6, 1.0))
    nodes = heard.take()
    assert len(stored) == sealed_nbytes(len(model))
    seen = b"".join([stored, *nodes])
    for secret in (b"weights", b"announcement", cid[4:], *(node_cid(a)[4:] for a in announcements)):
        assert secret not in seen
    assert not any(node_cid(a)[4:] in seen for a in nodes), "no link to the node before"
    for node in nodes:
        assert isinstance(outsider, Nodes)
        assert outsider.get_node(node_cid(node), 1.0) == node
        assert list(decode(node)) == ["sealed"]
        assert isinstance(decode(node)["sealed"], bytes)
    with pytest.raises(NotFound):
        outsider.get_node(node_cid(announcements[0]), 1.0)


def test_what_an_outsider_says_is_not_heard() -> None:
    member, outsider = pair(MemoryNetwork(1))
    heard = member.subscribe(TOPIC)
    other = Envelopes(bytes(32), SWARM).seal(b"with another key", None)
    elsewhere = Envelopes(KEY, bytes(32)).seal(b"of another swarm", None)
    lies = [b"", b"plain", other, elsewhere, bytes(MAX_MESSAGE_NBYTES)]
    for lie in lies:
        outsider.publish(TOPIC, lie)
    outsider.publish(TOPIC, Envelopes(KEY, SWARM).seal(b"true", None))
    assert heard.take() == [b"true"]
    assert member.n_unopened == len(lies)
    cid = outsider.put(b"a model that was never sealed")
    with pytest.raises(TransportError, match="not an object that was sealed"):
        member.get(cid, 1000, 1.0)
    cid = outsider.put(ObjectSeal(bytes(32), SWARM).seal(b"sealed with another key"))
    with pytest.raises(TransportError, match="another swarm's key"):
        member.get(cid, 1000, 1.0)


def test_a_lie_about_the_node_before_costs_nothing_but_the_walk() -> None:
    network = MemoryNetwork(1)
    member, outsider = pair(network)
    liar = Envelopes(KEY, SWARM)
    heard = member.subscribe(TOPIC)
    assert isinstance(outsider, Nodes)
    truth = liar.seal(b"truth", None)
    false = liar.seal(b"false", None)
    outsider.put_node(false)
    claim = Previous(node_cid(b"truth"), node_cid(false))
    outsider.publish(TOPIC, liar.seal(b"a lie", claim))
    assert heard.take() == [b"a lie"]
    with pytest.raises(TransportError, match="something else"):
        member.get_node(node_cid(b"truth"), 1.0)
    outsider.put_node(truth)
    outsider.publish(TOPIC, truth)
    outsider.publish(TOPIC, liar.seal(b"a lie again", claim))
    assert heard.take() == [b"truth", b"a lie again"]
    assert member.get_node(node_cid(b"truth"), 1.0) == b"truth"


def test_an_own_node_can_be_dropped_however_much_others_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("learnae.transports.sealed._MAX_NAMES", 8)
    member, outsider = pair(MemoryNetwork(1))
    heard, talker = member.subscribe(TOPIC), Envelopes(KEY, SWARM)
    assert isinstance(outsider, Nodes)
    name = member.put_node(b"mine")
    stored = node_cid(talker.seal(b"mine", None))
    assert outsider.get_node(stored, 1.0)
    for i in range(20):
        outsider.publish(TOPIC, talker.seal(b"%d" % i, None))
        heard.take()
    member.drop_node(name)
    with pytest.raises(NotFound):
        outsider.get_node(stored, 1.0)


def test_a_damaged_chain_file_begins_a_new_chain(tmp_path: Path) -> None:
    file = tmp_path / "chain"
    for content in (b"", b"\xff" * 9000, Envelopes(bytes(32), SWARM).seal(b"other", None)):
        file.write_bytes(content)
        network = MemoryNetwork(1)
        member = seal_transport(network.endpoint("a"), KEY, SWARM, last=file)
        assert isinstance(member, SealedNodes)
        assert member.get_node(member.put_node(b"fresh"), 1.0) == b"fresh"


# ---- bytes ----------------------------------------------------------------------------------

MIB = 1 << 20
EDGES = [0, 1, 15, 16, 17, MIB - 17, MIB - 16, MIB - 15, MIB, 2 * (MIB - 16), 2 * MIB]


@pytest.mark.parametrize("n", EDGES)
def test_object_sizes(n: int) -> None:
    data = sample(n)
    sealed = SEAL.seal(data)
    assert len(sealed) == sealed_nbytes(n)
    assert sealed == SEAL.seal(bytearray(data)), "sealing again gives the same bytes"
    view = SEAL.open(sealed, n)
    assert view == data and view.readonly
    if n:
        with pytest.raises(TransportError, match=f"{n} bytes"):
            SEAL.open(sealed, n - 1)


def test_format_does_not_change() -> None:
    """Other versions of learnae must be able to open what this one seals."""
    assert hashlib.sha256(SEAL.seal(sample(MIB + 5))).hexdigest() == GOLDEN_OBJECT
    envelope = Envelopes(KEY, SWARM)
    first = envelope.seal(b"first", None)
    assert first.hex() == GOLDEN_MESSAGE
    second = envelope.seal(b"second" * 50, Previous(node_cid(b"first"), node_cid(first)))
    assert hashlib.sha256(second).hexdigest() == GOLDEN_LINKED


def test_chunks_cannot_be_moved_repeated_or_left_out() -> None:
    n = 3 * (MIB - 16)
    sealed = bytes(SEAL.seal(sample(n)))
    header, chunks = sealed[:40], [sealed[40 + i * MIB :][:MIB] for i in range(3)]
    for order in ([1, 0, 2], [0, 1], [0, 2], [0, 1, 2, 2], [0, 1, 1], [2], [0], [0, 2, 1], []):
        with pytest.raises(TransportError):
            SEAL.open(header + b"".join(chunks[i] for i in order), 10**9)
    other = bytes(SEAL.seal(sample(n, salt=1)))
    with pytest.raises(TransportError):
        SEAL.open(sealed[: 40 + MIB] + other[40 + MIB :], 10**9)


def test_keys_are_apart() -> None:
    """What is sealed as an object does not open as a message, nor under any other key."""
    sealed = SEAL.seal(b"secret")
    for key, swarm in ((KEY, bytes(32)), (bytes(32), SWARM)):
        with pytest.raises(TransportError):
            ObjectSeal(key, swarm).open(sealed, 100)
        assert Envelopes(key, swarm).open(Envelopes(KEY, SWARM).seal(b"x", None)) is None
        assert ObjectSeal(key, swarm).seal(b"secret")[8:] != sealed[8:]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.data())
def test_no_changed_object_opens(data: bytes, draw: st.DataObject) -> None:
    sealed = bytes(SEAL.seal(data))
    changed = draw.draw(_changed(sealed))
    if changed != sealed:
        with pytest.raises(TransportError):
            SEAL.open(changed, 10**6)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.data())
def test_no_changed_message_opens(data: bytes, draw: st.DataObject) -> None:
    envelopes = Envelopes(KEY, SWARM)
    node = envelopes.seal(data, None)
    opened = envelopes.open(node)
    assert opened is not None and opened.data == data
    assert decode(node)["sealed"]
    changed = draw.draw(_changed(node))
    if changed != node:
        assert envelopes.open(changed) is None


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 100))
def test_any_bytes_are_refused(data: bytes, max_nbytes: int) -> None:
    with pytest.raises(TransportError):
        SEAL.open(data, max_nbytes)
    with pytest.raises(TransportError):
        SEAL.open(b"learnae\x01" + data, max_nbytes)
    for head in (b"", b"\xa1\x66sealed", b"\xa1\x66sealed\x58", b"\xa1\x66sealed\x59\x00"):
        assert Envelopes(KEY, SWARM).open(head + data) is None


@st.composite
def _changed(draw: st.DrawFn, data: bytes) -> bytes:
    where = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(["flip", "cut", "insert", "remove", "append"])):
        case "flip":
            copy = bytearray(data)
            copy[min(where, len(data) - 1)] ^= draw(st.integers(1, 255))
            return bytes(copy)
        case "cut":
            return data[:where]
        case "insert":
            return data[:where] + draw(st.binary(min_size=1, max_size=40)) + data[where:]
        case "remove":
            return data[:where] + data[where + draw(st.integers(1, 40)) :]
        case _:
            return data + draw(st.binary(min_size=1, max_size=40))
