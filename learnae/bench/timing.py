"""Calls measured in turns, so that what slows the machine for a while slows all of them.

On a shared machine absolute figures drift by a factor of two within minutes. What was measured
in the same round can be compared: every ratio here is the median of the rounds' own ratios.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["WARM_S", "Budget", "Call", "Samples", "fastest", "interleave", "median", "ratio"]

Name = TypeVar("Name", bound=Hashable)

# What takes longer needs no warm caches: to fill them is a small part of it.
WARM_S = 0.05

# Seconds of one call in each round; None in a round in which it was not called.
Samples = Sequence[float | None]


@dataclass(frozen=True)
class Call:
    """What is measured, and what has to be done before, which is not.

    With `warm` one call that does not count goes before each sample; with `every_round` it is
    measured however slow it is. Where `repeats` says how often a sample repeats it, no call is
    needed to find out.
    """

    run: Callable[[], object]
    prepare: Callable[[], object] | None = None
    warm: bool = True
    every_round: bool = False
    repeats: int | None = None


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Rounds end when `seconds` have passed, but there are at least `min_rounds` of them and at most
    `max_rounds`. A sample repeats its call until `sample_s` have passed. What takes longer than
    `slow_s` is measured in the first `slow_rounds` rounds only.
    """

    seconds: float
    min_rounds: int = 3
    max_rounds: int = 25
    sample_s: float = 1e-3
    slow_s: float = 0.5
    slow_rounds: int = 1


def interleave(
    calls: Mapping[Name, Call], budget: Budget, clock: Callable[[], float] = time.perf_counter
) -> dict[Name, list[float | None]]:
    """Measure all calls in each of some rounds; return each one's seconds per call, by round.

    The first call of each warms up and is not counted, however long it takes: it may compile, and
    what it allocates comes from the system for the first time, which on a virtual machine can take
    ten times as long as the work.
    """
    started = clock()
    least = {
        name: _seconds(call, 1, False, clock) if call.repeats is None else 0.0
        for name, call in calls.items()
    }
    samples: dict[Name, list[float | None]] = {name: [] for name in calls}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for round_ in range(budget.max_rounds):
            if round_ >= budget.min_rounds and clock() - started > budget.seconds:
                break
            for name, call in calls.items():
                is_slow = least[name] > budget.slow_s and not call.every_round
                if is_slow and round_ >= budget.slow_rounds:
                    samples[name].append(None)
                    continue
                seconds = _sample(call, least[name], budget, clock)
                if seconds < least[name] / 2:  # the first call said nothing of how to sample it
                    least[name] = seconds
                    seconds = _sample(call, seconds, budget, clock)
                samples[name].append(seconds)
                least[name] = min(least[name], seconds)
    finally:
        if was_enabled:
            gc.enable()
    return samples


def _sample(call: Call, expected: float, budget: Budget, clock: Callable[[], float]) -> float:
    """Repeat what takes `expected` seconds for as long as a sample should take."""
    repeats = call.repeats or max(1, round(budget.sample_s / max(expected, 1e-7)))
    return _seconds(call, repeats, call.warm and expected < WARM_S, clock)


def _seconds(call: Call, repeats: int, warm: bool, clock: Callable[[], float]) -> float:
    if call.prepare is not None:
        call.prepare()
    if warm:
        call.run()  # fills the caches with what this one needs, and wakes its threads
    started = clock()
    for _ in range(repeats):
        call.run()
    return (clock() - started) / repeats


def fastest(samples: Mapping[Name, Samples]) -> dict[Name, list[float | None]]:
    """Return one round, in which each call is as fast as it ever was.

    Where other programs take turns with this one, a median is about them; one round of several in
    which a call was left alone is about the call.
    """
    return {name: [min(s for s in found if s is not None)] for name, found in samples.items()}


def median(samples: Samples) -> float:
    """Return the median second count of the rounds in which there is one."""
    return statistics.median(s for s in samples if s is not None)


def ratio(above: Samples, below: Samples) -> float:
    """Return the median of ``above / below`` over the rounds in which both were measured."""
    pairs = zip(above, below, strict=True)
    return statistics.median(a / b for a, b in pairs if a is not None and b is not None)
