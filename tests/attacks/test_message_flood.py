"""Attack: a member sends two thousand messages a second, all of them as they should be.

Each is sealed, signed and newer than the one before, so that nothing but their number speaks
against them. What they cost is measured in CPU time, which a busy machine does not change.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

import pytest
from swarm.actors import NOW, message, peer, weights

from learnae.swarm.events import Heard
from learnae.transports.envelope import Envelopes
from learnae.transports.ipfs import Rpc
from learnae.transports.ipfs.frames import Frame, Sign, encode_frame
from learnae.transports.ipfs.pubsub import Channel

PER_S, SECONDS, POLL_S = 2000, 10, 0.25
DAEMON = b"12D3KooWEHhCFjcg2NxjtZwb2u8MUEjHP1kVsmGC4iFG8vbPuBCH"
ALLOWED = 0.05
KEY, SWARM = b"k" * 32, b"i" * 32


@pytest.fixture
def channel() -> Iterator[Channel]:
    """A channel that hears what a test tells it: no daemon answers at its address."""
    channel = Channel(Rpc("/ip4/127.0.0.1/tcp/1"), "learnae/1/flood", b"ourself!", lambda: None)
    yield channel
    channel.close()
    channel.join()


def as_kubo_says_it(counter: int, sealed: bytes) -> bytes:
    """Return a line of ``pubsub/sub``."""
    frame = encode_frame(Frame(Sign.MESSAGE, b"hostile!", counter, sealed))
    data = "u" + base64.urlsafe_b64encode(frame).decode().rstrip("=")
    line = {"from": DAEMON.decode(), "data": data, "seqno": "uGNI", "topicIDs": ["uZmxvb2Q"]}
    return json.dumps(line, separators=(",", ":")).encode()


def test_two_thousand_messages_a_second(channel: Channel) -> None:
    me, hostile = peer(0), peer(1)
    envelopes = Envelopes(KEY, SWARM)
    n = PER_S * SECONDS
    # As many as can be admitted, one after the other: none is refused as old.
    sealed = [envelopes.seal(message(weights(hostile, i)), None) for i in range(n // 30 + 1)]
    lines = [as_kubo_says_it(i + 1, sealed[i // 30]) for i in range(n)]
    subscription = channel.subscribe()
    heard = 0
    began = time.thread_time()
    for i, line in enumerate(lines):
        channel._hear(line, 1000.0 + i / PER_S)
        if i % (PER_S * POLL_S) == 0:
            for data in subscription.take():
                opened = envelopes.open(data)
                assert opened is not None
                heard += isinstance(me.receive(opened.data, NOW)[0], Heard)
    cost = (time.thread_time() - began) / SECONDS
    print(f"{PER_S} messages a second cost {cost:.1%} of a core; {heard} of {n} were heard")
    assert heard > 5 * SECONDS, "it is slowed down, not shut out"
    assert cost < ALLOWED
