"""Twenty peers under loss, duplication, reordering, delay and a partition lose next to nothing."""

from __future__ import annotations

import statistics

import pytest

from learnae.learn import magic, partition, tabular
from learnae.learn.tabular import Table
from learnae.swarm import Charter, DataSection, parse_charter
from learnae.transports.memory import Faults, Partition
from node.simulation import ROUND_S, Outcome, Simulation

N_PEERS, N_ROUNDS, SEED = 20, 100, 7
START = 1_800_000_000.0

CHARTER = """
[swarm]
name = "twenty"
seed = 7
[training]
steps = 20
rounds = 100
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


def _run(shares: tuple[Charter, list[Table], Table], faults: Faults) -> Outcome:
    charter, tables, test = shares
    return Simulation(charter, tables, SEED, faults).run(N_ROUNDS, test)


def test_faults_cost_next_to_nothing_and_repeat_exactly(
    shares: tuple[Charter, list[Table], Table],
) -> None:
    names = [f"peer-{i:02d}" for i in range(N_PEERS)]
    third = N_ROUNDS * ROUND_S / 3
    faults = Faults(
        loss=0.3,
        duplicate=0.2,
        reorder=0.2,
        delay_s=(0.0, ROUND_S),
        partitions=(Partition(START + third, START + 2 * third, (names[:8], names[8:])),),
    )
    calm = _run(shares, Faults())
    stormy = _run(shares, faults)
    again = _run(shares, faults)
    print(
        f"calm {statistics.mean(calm.accuracy):.4f} stormy {statistics.mean(stormy.accuracy):.4f}"
    )
    assert min(calm.n_remembered) == N_PEERS - 1, "every peer has heard every other"
    assert min(stormy.n_remembered) == N_PEERS - 1
    assert statistics.mean(stormy.accuracy) >= statistics.mean(calm.accuracy) - 0.02
    assert statistics.mean(calm.accuracy) > 0.83, "the swarm has learnt something"
    assert stormy.digest == again.digest, "the same seed gives the same bytes"
    assert stormy.digest != calm.digest
    assert stormy.accuracy == again.accuracy
