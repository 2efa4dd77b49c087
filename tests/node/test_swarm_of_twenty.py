"""Twenty peers under loss, duplication, reordering, delay and a partition lose next to nothing."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from node.simulation import ROUND_S, Outcome, Simulation

from learnae.learn import magic, partition, tabular
from learnae.learn.tabular import Table
from learnae.swarm import Charter, DataSection, parse_charter
from learnae.transports.memory import Faults, Partition

N_PEERS, N_ROUNDS, SEED = 20, 250, 7
START = 1_800_000_000.0

CHARTER = """
[swarm]
name = "twenty"
seed = 7
[training]
steps = 20
rounds = 250
[gossip]
codec = "i8"
fan_in = 2
keep = 8
"""


@pytest.fixture(scope="module")
def shares() -> tuple[Charter, list[Table], Table]:
    charter = parse_charter(CHARTER)
    table = magic.read_magic()
    assert table.y is not None
    rows, held_out = partition.split_test(table.y, len(table), 0.2, SEED)
    train = table.take(rows)
    moments = tabular.Moments.of(train.x)
    scale = DataSection(mean=tuple(moments.mean.tolist()), std=tuple(moments.std.tolist()))
    train = tabular.standardise(train, scale)[0]
    test = tabular.standardise(table.take(held_out), scale)[0]
    assert train.y is not None
    parts = partition.dirichlet(train.y, N_PEERS, 0.5, SEED)
    return charter, [train.take(rows) for rows in parts], test


def _faults(n_rounds: int) -> Faults:
    """Everything at once, and for a third of the run no way between 8 peers and the other 12."""
    names = [f"peer-{i:02d}" for i in range(N_PEERS)]
    third = n_rounds * ROUND_S / 3
    return Faults(
        loss=0.3,
        duplicate=0.2,
        reorder=0.2,
        delay_s=(0.0, ROUND_S),
        partitions=(Partition(START + third, START + 2 * third, (names[:8], names[8:])),),
    )


def _run(shares: tuple[Charter, list[Table], Table], faults: Faults, n_rounds: int) -> Outcome:
    charter, tables, test = shares
    return Simulation(charter, tables, SEED, faults).run(n_rounds, test)


@pytest.mark.deadline(600)
def test_faults_cost_next_to_nothing(shares: tuple[Charter, list[Table], Table]) -> None:
    calm = _run(shares, Faults(), N_ROUNDS)
    stormy = _run(shares, _faults(N_ROUNDS), N_ROUNDS)
    calm_mean, stormy_mean = statistics.mean(calm.accuracy), statistics.mean(stormy.accuracy)
    print(f"mean accuracy: calm {calm_mean:.4f}, stormy {stormy_mean:.4f}")
    assert min(calm.n_remembered) == N_PEERS - 1, "every peer has heard every other"
    assert min(stormy.n_remembered) == N_PEERS - 1
    assert calm_mean > 0.85, "the swarm has learnt something"
    assert stormy_mean >= calm_mean - 0.02


def test_the_same_seed_gives_the_same_bytes(shares: tuple[Charter, list[Table], Table]) -> None:
    n_rounds = 20
    stormy = _run(shares, _faults(n_rounds), n_rounds)
    again = _run(shares, _faults(n_rounds), n_rounds)
    calm = _run(shares, Faults(), n_rounds)
    assert stormy.digest == again.digest
    assert stormy.accuracy == again.accuracy
    assert stormy.digest != calm.digest, "the faults have changed something"


def test_chains_of_differences_stand_the_same_faults(
    shares: tuple[Charter, list[Table], Table],
) -> None:
    charter, tables, test = shares
    chained = replace(charter, gossip=replace(charter.gossip, codec="topk"))
    faults = Faults(loss=0.3, duplicate=0.2, reorder=0.2, delay_s=(0.0, ROUND_S))
    accepted, accuracy = [], []
    for swarm in (charter, chained):
        simulation = Simulation(swarm, tables[:8], SEED, faults)
        accuracy.append(statistics.mean(simulation.run(60, test).accuracy))
        accepted.append(sum(p.session.traffic.accepted for p in simulation.peers))
    print(f"i8, topk: accuracy {accuracy}, models accepted {accepted}")
    assert accepted[1] > 0.9 * accepted[0], "a lost link is asked for again"
    assert accuracy[1] > accuracy[0] - 0.03
