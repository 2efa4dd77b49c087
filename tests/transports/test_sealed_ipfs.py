"""The sealed transport over real daemons: the contract, but for what sealing cannot change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from transports.contract import Harness
from transports.nodes_contract import NodesContract
from transports.test_ipfs import IpfsHarness, forget_all
from transports.test_sealed import KEY, SWARM, SealedContract

from kubo import Kubos
from learnae.transports import Transport
from learnae.transports.sealed import seal_transport


class SealedIpfsHarness:
    def __init__(self, inner: IpfsHarness, folder: Path) -> None:
        self.inner, self.folder = inner, folder

    def open(self, name: str) -> Transport:
        return seal_transport(self.inner.open(name), KEY, SWARM, last=self.folder / f"{name}.chain")

    def damage(self, owner: str, cid: bytes) -> None:
        self.inner.damage(owner, cid)


@pytest.mark.deadline(300)
class TestSealedIpfs(SealedContract, NodesContract):
    # Threads and floods are the business of the transport below, and tested there.
    test_many_threads = None  # type: ignore[assignment]
    test_one_transport_in_many_threads = None  # type: ignore[assignment]
    test_newest_is_never_lost_however_rarely_taken = None  # type: ignore[assignment]
    test_late_subscriber_hears_the_newest_of_everybody = None  # type: ignore[assignment]

    @pytest.fixture
    def harness(self, kubos: Kubos, tmp_path: Path) -> Iterator[Harness]:
        inner = IpfsHarness(kubos)
        yield SealedIpfsHarness(inner, tmp_path)
        inner.close()
        forget_all(kubos)
