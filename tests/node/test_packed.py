"""Swarms in packed codecs: fewer bytes on the way, and the same bits at both ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node.actors import NOW, charter, identity
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import PayloadError
from learnae.node.chains import largest_payload_nbytes
from learnae.node.contribution import Contribution
from learnae.node.resolving import resolve
from learnae.node.session import Session
from learnae.payload import Schema
from learnae.swarm import Charter, Peer
from learnae.transports.memory import MemoryNetwork

Float32 = NDArray[np.float32]
SCHEMA = Schema.of({"w": np.zeros(20_000, np.float32)})
N = SCHEMA.n_elements
N_PEERS = 3


def session_of(
    network: MemoryNetwork,
    number: int,
    swarm: Charter,
    schema: Schema = SCHEMA,
    folder: Path | None = None,
) -> Session:
    peer = Peer(swarm, identity(number), schema.digest)
    return Session(swarm, schema, peer, network.endpoint(f"peer-{number}"), folder=folder)


def moved(rng: np.random.Generator) -> Float32:
    """Return a step as training makes them: most of it small."""
    return (rng.standard_normal(N) ** 3).astype(np.float32)


def run(swarm: Charter, n_rounds: int = 4) -> tuple[list[bytes], int]:
    """Let a swarm train by steps drawn from one seed; return all params, and the bytes sent."""
    network, rng = MemoryNetwork(clock=lambda: NOW), np.random.default_rng(8)
    sessions = [session_of(network, number, swarm) for number in range(N_PEERS)]
    models = [moved(rng) for _ in sessions]
    gradients = [moved(rng) for _ in sessions]
    for number in range(1, n_rounds + 1):
        now = NOW + number
        for session, params, gradient in zip(sessions, models, gradients, strict=True):
            payload = session.encode(params, gradient)
            session.advance(number)
            session.publish(Contribution(payload, number, 10, 0.5), now)
        for i, session in enumerate(sessions):
            session.listen(now)
            while fetches := session.wanted(now):
                assert all(session.fetch(fetch, models[i], now) for fetch in fetches)
            merged = session.merge(models[i], gradients[i], 10)
            assert merged.n_models == N_PEERS and merged.shift is not None
            gradients[i] = gradients[i] + merged.shift
            models[i] = models[i] + moved(rng)
    n_sent = sum(session.traffic.bytes_sent for session in sessions)
    return [array.tobytes() for array in models + gradients], n_sent


@pytest.mark.parametrize(("packed", "plain", "most"), [("i8z", "i8", 0.9), ("i4z", "i4", 0.97)])
def test_the_swarm_ends_with_the_same_params(packed: str, plain: str, most: float) -> None:
    ended, n_sent = run(charter(codec=packed, fan_in=N_PEERS))
    expected, n_expected = run(charter(codec=plain, fan_in=N_PEERS))
    assert ended == expected
    assert n_sent < most * n_expected


def test_keys_can_be_packed_too() -> None:
    swarm = charter(codec="sign", key_codec="i8z", key_every=3, fan_in=N_PEERS)
    ended, n_sent = run(swarm)
    expected, n_expected = run(charter(codec="sign", key_every=3, fan_in=N_PEERS))
    assert ended == expected
    assert n_sent < n_expected


def test_the_largest_payload_is_the_raw_one() -> None:
    swarm = charter(codec="i8z")
    any_codes = np.random.default_rng(2).uniform(-1, 1, N).astype(np.float32)
    plain = kernels.payload_open(kernels.payload_write("i8", SCHEMA.digest, [any_codes] * 2), N)
    assert len(kernels.payload_pack(plain)) > plain.nbytes, "they cannot be packed"
    assert len(kernels.payload_pack(plain)) <= largest_payload_nbytes(swarm, SCHEMA)


def test_codes_that_lie_are_refused(tmp_path: Path) -> None:
    """They pass all checks of the blocks: only unpacking finds out."""
    swarm = charter(codec="i8z")
    x = moved(np.random.default_rng(1))
    plain = kernels.payload_open(kernels.payload_write("i8", SCHEMA.digest, [x]), N)
    data = kernels.payload_pack(plain)
    streams = 128 + 64 + 4 + 4 * 64 + 144
    data[streams : streams + 400] = bytes(400)
    size = int.from_bytes(data[128:132], "little")
    data[132:136] = kernels.crc32c(data[192 : 192 + size]).to_bytes(4, "little")
    data[72:76] = kernels.crc32c(data[128:192]).to_bytes(4, "little")
    data[124:128] = kernels.crc32c(data[:124]).to_bytes(4, "little")
    kernels.payload_verify(kernels.payload_open(data, N))
    with pytest.raises(PayloadError, match=r"block 0 .*codes that are wrong"):
        resolve(b"", lambda cid: memoryview(data), lambda cid: None, swarm, SCHEMA, tmp_path)


def test_large_models_are_mapped(tmp_path: Path) -> None:
    schema = Schema.of({"w": np.zeros(1_200_000, np.float32)})
    swarm = charter(codec="i8z")
    network = MemoryNetwork(clock=lambda: NOW)
    ann = session_of(network, 1, swarm, schema)
    bob = session_of(network, 2, swarm, schema, tmp_path)
    params = np.linspace(-1, 1, schema.n_elements, dtype=np.float32)
    ann.publish(Contribution(ann.encode(params, None), 1, 10, None), NOW)
    bob.listen(NOW)
    (fetch,) = bob.wanted(NOW)
    assert bob.fetch(fetch, params, NOW)
    view = bob._remembered.view(fetch.cid)
    assert view is not None and view.codec == "i8"
    assert isinstance(view.buffer, memoryview) and view.buffer.readonly
    assert list(tmp_path.iterdir()) == [], "nothing is left when the process ends"
