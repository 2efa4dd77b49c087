"""One fixture: two peers, each with a daemon of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transports.daemons import forget_all

from kubo import Kubo, Kubos
from learnae.transports.ipfs import IpfsTransport


@pytest.fixture
def pair(kubos: Kubos) -> Iterator[tuple[Kubo, Kubo, IpfsTransport, IpfsTransport]]:
    one, two = kubos["ann"], kubos["bob"]
    ann = IpfsTransport(str(one.repo), "ann")
    bob = IpfsTransport(str(two.repo), "bob")
    yield one, two, ann, bob
    ann.close()
    bob.close()
    forget_all(kubos)
