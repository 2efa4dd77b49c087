"""Which calls are measured in the same rounds, and the rows that come out.

A group is one family of kernels at one size and one number of models. In each round of it come
the streams that its floors need, every kernel with each instruction set and number of threads,
and every rival: so ratio and floor are of the same moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

import learnae
from learnae import kernels
from learnae.bench import bandwidth
from learnae.bench.bandwidth import Probe
from learnae.bench.cases import Inputs, Kernel, Prepared
from learnae.bench.floor import floor_fraction
from learnae.bench.machine import Machine
from learnae.bench.report import Row
from learnae.bench.rivals import Rival, rivals_of
from learnae.bench.streams import Streams
from learnae.bench.timing import Budget, Call, Samples, fastest, interleave, median, ratio

__all__ = ["Bench", "Group", "groups_of", "measure_group"]


class Ours(NamedTuple):
    """One call of a kernel."""

    kernel: str
    codec: str
    isa: str
    threads: int


class Theirs(NamedTuple):
    """One call of a rival; 0 threads where it decides for itself."""

    kernel: str
    codec: str
    name: str
    threads: int


@dataclass(frozen=True)
class Group:
    """One family at one size, with one number of models."""

    family: str
    kernels: tuple[Kernel, ...]
    n: int
    k: int


@dataclass(frozen=True)
class Bench:
    """What is the same for all groups."""

    machine: Machine
    streams: Streams
    isas: tuple[str, ...]
    threads: tuple[int, ...]
    rivals: tuple[Rival, ...]
    budget: Budget
    fastest: bool = False  # compare each call's fastest round, not the medians


def groups_of(chosen: Sequence[Kernel], sizes: Sequence[int], counts: Sequence[int]) -> list[Group]:
    """Return the groups; without `counts`, each kernel takes as many models as it says."""
    groups = []
    for n in sizes:
        found: dict[tuple[str, int], list[Kernel]] = {}
        for kernel in chosen:
            for k in (counts or [kernel.k]) if kernel.k > 1 else [1]:
                found.setdefault((kernel.family, k), []).append(kernel)
        groups += [Group(family, tuple(found[family, k]), n, k) for family, k in found]
    return groups


def measure_group(bench: Bench, group: Group) -> list[Row]:
    """Measure one group."""
    inputs = Inputs.sample(group.n, group.k)
    prepared = {(k.name, c): k.prepare(inputs, c) for k in group.kernels for c in k.codecs}
    classes = {p.traffic.footprint for p in prepared.values()}
    sizes = [bandwidth.size_class(nbytes, bench.machine) for nbytes in classes]
    wanted = bandwidth.probes(sizes, bench.threads)
    calls: dict[Probe | Ours | Theirs, Call] = {}
    calls.update(bandwidth.probe_calls(bench.streams, wanted))
    for what, ours in prepared.items():
        calls.update(_our_calls(bench, what, ours))
        calls.update(_rival_calls(bench, inputs, *what))
    samples = interleave(calls, bench.budget)
    if bench.fastest:
        samples = fastest(samples)
    return [
        _row(bench, group, key, prepared[key.kernel, key.codec], samples)
        for key in samples
        if isinstance(key, Ours)
    ]


def _our_calls(
    bench: Bench, what: tuple[str, str], prepared: Prepared
) -> Iterator[tuple[Ours, Call]]:
    for isa in bench.isas:
        for threads in bench.threads:
            select = partial(_select, isa, threads)
            yield Ours(*what, isa, threads), Call(prepared.run, select, every_round=True)


def _select(isa: str, threads: int) -> None:
    kernels.set_isa(isa)
    kernels.set_threads(threads)


def _rival_calls(
    bench: Bench, inputs: Inputs, kernel: str, codec: str
) -> Iterator[tuple[Theirs, Call]]:
    for rival in rivals_of(kernel, codec, bench.rivals):
        run = rival.prepare(inputs, codec)
        if rival.set_threads is None:
            yield Theirs(kernel, codec, rival.name, 0), Call(run)
            continue
        for threads in bench.threads:
            prepare = partial(rival.set_threads, threads)
            yield Theirs(kernel, codec, rival.name, threads), Call(run, prepare)


def _row(
    bench: Bench,
    group: Group,
    key: Ours,
    prepared: Prepared,
    samples: dict[Probe | Ours | Theirs, list[float | None]],
) -> Row:
    traffic, seconds = prepared.traffic, median(samples[key])
    nbytes = bandwidth.size_class(traffic.footprint, bench.machine)
    streams: dict[Probe, Samples] = {p: s for p, s in samples.items() if isinstance(p, Probe)}
    rates = bandwidth.rates_by_round(streams, nbytes, key.threads)
    rivals = {
        other.name: ratio(samples[other], samples[key])
        for other in samples
        if isinstance(other, Theirs)
        and (other.kernel, other.codec) == (key.kernel, key.codec)
        and other.threads in (0, key.threads)
    }
    versions = {r.name: r.version for r in bench.rivals if r.name in rivals}
    return Row(
        kernel=key.kernel,
        codec=key.codec,
        n=group.n,
        k=group.k,
        isa=key.isa,
        threads=key.threads,
        seconds=seconds,
        gb_per_s=traffic.nbytes / seconds / 1e9,
        floor_fraction=floor_fraction(traffic, rates, samples[key]),
        error=prepared.error,
        rivals=rivals,
        versions={"learnae": learnae.__version__, "numpy": np.__version__, **versions},
        ratio=prepared.ratio,
    )
