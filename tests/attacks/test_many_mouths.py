"""A member that speaks as a thousand daemons, and as many transports on each of them.

Memory bounded for each sender is not bounded where senders cost nothing to invent.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from learnae.transports.ipfs.frames import Frame, Sign, encode_frame
from learnae.transports.ipfs.pubsub import KEEP_MESSAGES, Channel
from learnae.transports.ipfs.rpc import Rpc

N_SENDERS, N_TAGS, N_MESSAGES = 1500, 20, 70
# So slow that all of it is read: what a flood loses is tested beside this.
CLOCK = itertools.count(1000.0, 0.02)


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    """Listen to a daemon that does not run; what arrives is given by hand."""
    rpc = Rpc(str(tmp_path))
    channel = Channel(rpc, "topic", b"our own!", lambda: None)
    channel._ready.set()
    yield channel
    channel.close()
    rpc.close()
    channel.join()


def hear(channel: Channel, sender: int, tag: int, counter: int) -> bytes:
    data = b"%d %d %d" % (sender, tag, counter)
    frame = encode_frame(Frame(Sign.MESSAGE, b"%8d" % tag, counter, data))
    text = "u" + base64.urlsafe_b64encode(frame).decode().rstrip("=")
    line = json.dumps({"from": f"12D3KooW{sender}", "data": text}, separators=(",", ":"))
    channel._hear(line.encode(), next(CLOCK))
    return data


def test_many_senders_of_many_messages(channel: Channel) -> None:
    heard = channel.subscribe()
    newest = [
        [hear(channel, sender, 0, counter) for counter in range(N_MESSAGES)][-1]
        for sender in range(N_SENDERS)
    ]
    taken = heard.take()
    assert len(taken) < 16_000, "60 MB of the largest"
    assert set(newest[-1000:]) <= set(taken), "and yet the newest of each"
    kept = channel.subscribe().take()
    assert len(kept) <= 1024 * KEEP_MESSAGES


def test_many_tags(channel: Channel) -> None:
    for tag in range(N_TAGS):
        for sender in range(N_SENDERS):
            hear(channel, sender, tag, 1)
    for sender in range(3):
        for tag in range(N_TAGS):
            for counter in range(KEEP_MESSAGES):
                hear(channel, sender, tag, 2 + counter)
    assert sum(len(tags) for tags in channel._streams.values()) <= 1024
    assert channel._n_streams == sum(len(tags) for tags in channel._streams.values())
