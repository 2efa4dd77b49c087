"""From bytes to the least time."""

from __future__ import annotations

import pytest

from learnae.bench.bandwidth import Probe, level_of, probes, rates_by_round, size_class
from learnae.bench.floor import Traffic, floor_fraction, floor_seconds
from learnae.bench.machine import Machine, describe_machine

RATES = {"read": 20.0, "copy": 10.0, "scale": 40.0}
KIB, MIB = 2**10, 2**20


def test_each_kind_of_traffic_goes_at_its_rate() -> None:
    assert floor_seconds(Traffic(read=100), RATES) == pytest.approx(5.0)
    assert floor_seconds(Traffic(scaled=100), RATES) == pytest.approx(5.0)  # read and written
    assert floor_seconds(Traffic(read=100, written=100), RATES) == pytest.approx(20.0)
    # An encoder: a quarter of what it reads is copied, the rest only read.
    assert floor_seconds(Traffic(read=400, written=100), RATES) == pytest.approx(20.0 + 15.0)
    # A decoder: what is written beyond what was read has no rate but the copy's.
    assert floor_seconds(Traffic(read=100, written=400), RATES) == pytest.approx(20.0 + 30.0)


def test_the_floor_of_a_mean() -> None:
    """(K - 1) models read at the read rate, one read and written at the scale's."""
    k, nbytes = 8, 4_000
    floor = floor_seconds(Traffic(read=(k - 1) * nbytes, scaled=nbytes), RATES)
    assert floor == pytest.approx((k - 1) * nbytes / 20.0 + 2 * nbytes / 40.0)


def test_traffic_counts_what_is_moved_and_what_is_touched() -> None:
    traffic = Traffic(read=7, written=5, scaled=3)
    assert (traffic.nbytes, traffic.footprint) == (18, 15)


def test_each_round_has_its_own_floor() -> None:
    """Half the bandwidth and twice the time: the fraction stays; a round left out is left out."""
    slow = {name: rate / 2 for name, rate in RATES.items()}
    traffic = Traffic(read=100)
    assert floor_fraction(traffic, [RATES, slow, slow], [10.0, 20.0, 20.0]) == pytest.approx(0.5)
    assert floor_fraction(traffic, [RATES, slow], [10.0, None]) == pytest.approx(0.5)


def machine(**changes: int) -> Machine:
    known = describe_machine().as_json()
    sizes = {"l2_nbytes": MIB, "l3_nbytes": 32 * MIB, "memory_nbytes": 2**34}
    return Machine(**{**known, **sizes, **changes})


def test_rates_are_those_of_the_size_and_the_round() -> None:
    wanted = probes([128 * MIB, 256 * MIB], [1, 2])
    assert len(wanted) == 3 * 2 * 2
    samples = {probe: [0.5, 0.25] for probe in wanted}
    first, second = rates_by_round(samples, 256 * MIB, 2)
    # One pass over 256 MiB in half a second.
    assert first["read"] == first["copy"] == 512 * MIB
    assert first["scale"] == 2 * first["read"] and second["read"] == 2 * first["read"]
    assert rates_by_round(samples, 128 * MIB, 1)[0]["read"] == 256 * MIB
    assert isinstance(wanted[0], Probe)


@pytest.mark.parametrize("nbytes", [1, 70 * KIB, 100 * KIB, 640 * KIB, 3 * MIB, 50 * MIB])
def test_a_size_in_the_caches_is_measured_near_it(nbytes: int) -> None:
    found = size_class(nbytes, machine())
    assert found % KIB == 0
    assert found == 64 * KIB or 0.8 <= found / nbytes <= 1.25


def test_all_sizes_beyond_the_caches_are_one() -> None:
    assert size_class(128 * MIB, machine()) == size_class(2**40, machine()) == 256 * MIB
    # A small board has to have room for it.
    assert size_class(2**40, machine(memory_nbytes=2**30)) == 128 * MIB


def test_levels() -> None:
    levels = [level_of(n, machine()) for n in (MIB, 2 * MIB, 32 * MIB, 33 * MIB)]
    assert levels == ["L2", "L3", "L3", "DRAM"]
