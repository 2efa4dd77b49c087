"""The rates of `streams` at the sizes and thread counts that matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

from learnae.bench.floor import Rates
from learnae.bench.machine import Machine
from learnae.bench.streams import OPERATIONS, Streams
from learnae.bench.timing import Budget, Call, Samples, interleave, median

__all__ = [
    "Bandwidth",
    "Probe",
    "dram_nbytes",
    "level_of",
    "level_sizes",
    "measure_bandwidth",
    "probe_calls",
    "probes",
    "rates_by_round",
    "size_class",
]

_MIB = 2**20
# A millisecond or two, as kernels' samples are. Handing work to threads takes 0.05 of one.
_SAMPLE_NBYTES = 100 * _MIB
_SMALLEST = 64 * 1024


class Probe(NamedTuple):
    """A stream that is measured beside kernels."""

    operation: str
    nbytes: int
    threads: int


@dataclass(frozen=True)
class Bandwidth:
    """Rates for one size of memory and one number of threads, in GB/s read and written."""

    level: str
    nbytes: int
    threads: int
    read: float
    copy: float
    scale: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name, as ``--json`` prints them."""
        return asdict(self)


def dram_nbytes(machine: Machine) -> int:
    """Return a size that no cache holds, and that a small machine still has."""
    return min(max(8 * machine.l3_nbytes, 64 * _MIB), machine.memory_nbytes // 8)


def level_sizes(machine: Machine) -> dict[str, int]:
    """Return a size for each level: well inside a cache, or far beyond the last one."""
    return {
        "L2": machine.l2_nbytes // 2,
        "L3": machine.l3_nbytes // 4,
        "DRAM": dram_nbytes(machine),
    }


def level_of(nbytes: int, machine: Machine) -> str:
    """Return the level that memory of this size is used from, by one thread."""
    if nbytes <= machine.l2_nbytes:
        return "L2"
    return "L3" if nbytes <= machine.l3_nbytes else "DRAM"


def size_class(nbytes: int, machine: Machine) -> int:
    """Return the size at which the floor of a kernel with this footprint is measured.

    Sizes in the caches are rounded to the nearest power of the square root of two; all that is
    four times the last cache or more goes at one rate.
    """
    if nbytes >= 4 * machine.l3_nbytes:
        return dram_nbytes(machine)
    size = _SMALLEST
    while size * 2**0.25 < nbytes:
        # 64, 96, 128, 192, ... KiB
        size = size // 2 * 3 if size & (size - 1) == 0 else size // 3 * 4
    return min(size, dram_nbytes(machine))


def probes(sizes: Iterable[int], threads: Iterable[int]) -> list[Probe]:
    """Return the streams of all sizes and thread counts."""
    sizes, threads = sorted(set(sizes)), sorted(set(threads))
    return [Probe(o, s, t) for s in sizes for t in threads for o in OPERATIONS]


def probe_calls(streams: Streams, wanted: Iterable[Probe]) -> Iterator[tuple[Probe, Call]]:
    """Yield each stream with the call that measures it."""
    for probe in wanted:
        run = partial(streams.run, *probe, _passes(probe))
        yield probe, Call(run, warm=False, every_round=True, repeats=1)


def _passes(probe: Probe) -> int:
    return max(1, probe.threads * _SAMPLE_NBYTES // probe.nbytes)


def _nbytes(probe: Probe) -> int:
    return probe.nbytes * _passes(probe) * (2 if probe.operation == "scale" else 1)


def rates_by_round(samples: Mapping[Probe, Samples], nbytes: int, threads: int) -> list[Rates]:
    """Return the rates at one size and thread count, in bytes a second, in each round."""
    by_operation = {o: samples[Probe(o, nbytes, threads)] for o in OPERATIONS}
    n_rounds = len(by_operation["read"])
    rounds: list[Rates] = []
    for i in range(n_rounds):
        rates = {}
        for operation, seconds in by_operation.items():
            sample = seconds[i]
            assert sample is not None, "streams are measured in every round"
            rates[operation] = _nbytes(Probe(operation, nbytes, threads)) / sample
        rounds.append(rates)
    return rounds


def measure_bandwidth(
    machine: Machine, streams: Streams, threads: Sequence[int], budget: Budget
) -> list[Bandwidth]:
    """Measure each level with each number of threads."""
    sizes = level_sizes(machine)
    samples = interleave(dict(probe_calls(streams, probes(sizes.values(), threads))), budget)
    rows = []
    for level, nbytes in sizes.items():
        for n_threads in threads:
            found = {
                o: _nbytes(Probe(o, nbytes, n_threads))
                / median(samples[Probe(o, nbytes, n_threads)])
                / 1e9
                for o in OPERATIONS
            }
            rows.append(Bandwidth(level, nbytes, n_threads, **found))
    return rows
