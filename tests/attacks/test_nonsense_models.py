"""Payloads that are valid, signed, and nonsense: they must not stop those who fetch them.

Story: the gate looked at how far a model is from one's own, but only whether its gradient was
finite. One peer that published a gradient of 1e30 beside an ordinary model moved everybody's next
round by about as much; with plain SGD the params overflowed within a few rounds.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import learnae
from learnae import kernels
from learnae.node.contribution import Contribution
from learnae.node.merging import longest_gradient, merge
from learnae.node.session import Session
from learnae.payload import Schema
from learnae.swarm import Charter, Identity, Peer
from learnae.transports import MemoryNetwork

Float32 = NDArray[np.float32]
N = 300
SCHEMA = Schema.of({"w": np.zeros(N, np.float32)})
NOW = 1.8e9


def charter(more: str = "") -> Charter:
    return learnae.parse_charter(f'[swarm]\nname = "nonsense"\n{more}')


def sessions(n: int, swarm: Charter) -> list[Session]:
    network = MemoryNetwork(clock=lambda: NOW)
    found = []
    for _ in range(n):
        identity = Identity.generate()
        peer = Peer(swarm, identity, SCHEMA.digest)
        found.append(Session(swarm, SCHEMA, peer, network.endpoint(identity.peer_id)))
    return found


def full(value: float) -> Float32:
    return np.full(N, value, np.float32)


def publish(session: Session, params: Float32, gradient: Float32 | None) -> None:
    payload = session.encode(params, gradient)
    session.publish(Contribution(payload, 1, 10, None), NOW)


def fetch_all(session: Session, params: Float32) -> int:
    session.listen(NOW)
    accepted = 0
    while fetches := session.wanted(NOW):
        accepted += sum(session.fetch(fetch, params, NOW) for fetch in fetches)
    return accepted


@pytest.mark.parametrize("n_honest", [1, 2, 5])
@pytest.mark.parametrize("nonsense", [1e3, 1e30])
def test_an_absurd_gradient_does_not_take_part(n_honest: int, nonsense: float) -> None:
    *honest, liar = sessions(n_honest + 1, charter())
    for i, session in enumerate(honest[1:]):
        publish(session, full(1.0), full(0.5 + i))
    publish(liar, full(1.0), full(nonsense))
    params, gradient = full(1.0), full(0.25)
    assert fetch_all(honest[0], params) == n_honest
    merged = honest[0].merge(params, gradient, 10)
    assert merged.n_models == n_honest + 1, "its params are as good as any"
    known = [0.25, *(0.5 + i for i in range(n_honest - 1))]
    assert merged.shift == pytest.approx(np.mean(known) - 0.25, abs=0.02)


def test_gradients_of_ordinary_lengths_all_take_part() -> None:
    me, *others = sessions(4, charter('[gossip]\ncodec = "f32"'))
    lengths = (0.01, 0.3, 20.0)
    for session, length in zip(others, lengths, strict=True):
        publish(session, full(1.0), full(length))
    params = full(1.0)
    assert fetch_all(me, params) == 3
    shift = me.merge(params, full(0.4), 10).shift
    assert shift == pytest.approx(np.mean([0.4, *lengths]) - 0.4, rel=1e-5)


def test_the_limit_is_of_the_median() -> None:
    assert longest_gradient(full(1.0), [], 100.0) == pytest.approx(100 * np.sqrt(N))
    own = np.array([3.0, 4.0], np.float32)
    assert longest_gradient(own, [1e30], 2.0) == pytest.approx(10.0)
    assert longest_gradient(own, [7.0, 1e30], 2.0) == pytest.approx(14.0)
    assert longest_gradient(full(3e38), [1.0], 2.0) == 2.0  # too long to be squared in float32


def test_where_all_know_all_the_shifts_sum_to_zero() -> None:
    random = np.random.default_rng(7)
    gradients = random.normal(size=(4, N)).astype(np.float32)
    samples = [10, 400, 33, 2]
    views = []
    me = sessions(1, charter('[gossip]\ncodec = "f32"'))[0]
    for gradient in gradients:
        views.append(kernels.payload_open(me.encode(full(0.0), gradient), N))
    shifts = []
    for i, gradient in enumerate(gradients):
        others = [(views[j], float(samples[j])) for j in range(4) if j != i]
        shift = merge(full(0.0), gradient, samples[i], others).shift
        assert shift is not None
        shifts.append(shift.astype(np.float64))
        # With its shift each peer moves along the swarm's mean.
        mean = np.average(gradients.astype(np.float64), axis=0, weights=samples)
        np.testing.assert_allclose(gradient + shift, mean, atol=1e-5)
    np.testing.assert_allclose(np.average(shifts, axis=0, weights=samples), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "codec", "n_vectors"),
    [
        ("", "f32", 2),
        ("[training]\ndrift_correction = false", "i8", 2),
        ('[gossip]\ncodec = "bf16"', "f32", 2),
    ],
)
def test_a_payload_larger_than_the_charters_is_refused(
    more: str, codec: str, n_vectors: int
) -> None:
    me, other = sessions(2, charter(more))
    payload = kernels.payload_write(codec, SCHEMA.digest, [full(1.0)] * n_vectors)
    other.publish(Contribution(payload, 1, 10, None), NOW)
    assert fetch_all(me, full(1.0)) == 0
    gradient = full(0.0) if me.charter.training.drift_correction else None
    publish(other, full(1.0), gradient)
    assert fetch_all(me, full(1.0)) == 1


def test_ever_larger_rounds_end_where_counting_ends() -> None:
    """A newcomer that heard only a liar took over 2^40 - 1 and could not count on."""
    me, liar = sessions(2, charter())
    payload = liar.encode(full(1.0), None)
    for round_ in (1, 1000, 2**40 - 1):
        liar.publish(Contribution(payload, round_, 10, None), NOW)
    assert fetch_all(me, full(1.0)) == 1
    adopted = me.adopt_round()
    assert adopted == me.charter.training.rounds
    me.advance(adopted + 1)
    publish(me, full(1.0), None)
