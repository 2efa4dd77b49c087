"""What a transport that keeps linked nodes must do beside the rest, as executable tests."""

from __future__ import annotations

import pytest
from transports.contract import PATIENCE_S, TOPIC, Harness

from learnae.errors import NotFound, TransportError
from learnae.swarm.dagcbor import Link, decode, encode
from learnae.transports import Transport
from learnae.transports.cid import node_cid
from learnae.transports.seam import MAX_NODE_NBYTES, Nodes

__all__ = ["NodesContract"]


class NodesContract:
    """What a transport that keeps nodes must do beside."""

    @pytest.fixture
    def ann(self, harness: Harness) -> Transport:
        return harness.open("ann")

    @pytest.fixture
    def bob(self, harness: Harness) -> Transport:
        return harness.open("bob")

    def test_a_chain_is_walked_from_its_newest_message(
        self, ann: Transport, bob: Transport
    ) -> None:
        assert isinstance(ann, Nodes) and isinstance(bob, Nodes)
        heard = bob.subscribe(TOPIC)
        links: list[bytes] = []
        for i in range(20):
            node = encode({"number": i, "previous": Link(links[-1]) if links else None})
            links.append(ann.put_node(node))
            assert links[-1] == ann.put_node(node) == node_cid(node)
            if i == 19:
                ann.publish(TOPIC, node)
        (newest,) = heard.take()
        assert node_cid(newest) == links[-1]
        for i in reversed(range(20)):
            node = decode(bob.get_node(links[i], PATIENCE_S))
            assert node == {"number": i, "previous": links[i - 1] if i else None}
        assert ann.owned() == bob.owned() == []

    def test_a_chain_goes_on_after_a_restart(
        self, harness: Harness, ann: Transport, bob: Transport
    ) -> None:
        assert isinstance(ann, Nodes) and isinstance(bob, Nodes)
        heard = bob.subscribe(TOPIC)
        first = ann.put_node(encode({"number": 1}))
        second = ann.put_node(encode({"number": 2}))
        ann.close()
        again = harness.open("ann")
        assert isinstance(again, Nodes)
        again.publish(TOPIC, encode({"number": 2}))
        third = again.put_node(encode({"number": 3}))
        again.publish(TOPIC, encode({"number": 3}))
        assert len(heard.take()) == 2
        for i, cid in enumerate((first, second, third), start=1):
            assert bob.get_node(cid, PATIENCE_S) == encode({"number": i})

    def test_dropped_and_unknown_nodes(self, ann: Transport, bob: Transport) -> None:
        assert isinstance(ann, Nodes) and isinstance(bob, Nodes)
        heard = bob.subscribe(TOPIC)
        for node in (b"\xa0", b"\x80"):
            ann.put_node(node)
            ann.publish(TOPIC, node)
        assert heard.take() == [b"\xa0", b"\x80"]
        ann.drop_node(node_cid(b"\xa0"))
        ann.drop_node(node_cid(b"\xa0"))
        ann.drop_node(node_cid(b"never seen"))
        with pytest.raises(NotFound):
            bob.get_node(node_cid(b"\xa0"), 0.5)
        with pytest.raises(NotFound):
            bob.get_node(node_cid(b"never seen"), 0.5)
        assert bob.get_node(node_cid(b"\x80"), PATIENCE_S) == b"\x80"

    def test_node_too_large(self, ann: Transport) -> None:
        assert isinstance(ann, Nodes)
        with pytest.raises(ValueError, match="at most"):
            ann.put_node(bytes(MAX_NODE_NBYTES + 1))

    def test_closed_nodes(self, ann: Transport) -> None:
        assert isinstance(ann, Nodes)
        cid = ann.put_node(b"\xa0")
        ann.close()
        for call in (lambda: ann.put_node(b"\x80"), lambda: ann.get_node(cid, 1.0)):
            with pytest.raises(TransportError, match="closed"):
                call()
