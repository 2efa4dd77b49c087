"""Calls in turns, measured with a clock that the calls themselves move."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat

import pytest

from learnae.bench.timing import Budget, Call, fastest, interleave, median, ratio


class Clock:
    """Time passes only when something is called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.called: list[str] = []

    def __call__(self) -> float:
        return self.now

    def takes(self, name: str, *seconds: float) -> Callable[[], None]:
        """Return a call that takes so long, one time after the other; then as long as the last."""
        durations = chain(seconds, repeat(seconds[-1]))

        def run() -> None:
            self.called.append(name)
            self.now += next(durations)

        return run


def test_every_call_is_measured_in_every_round() -> None:
    clock = Clock()
    calls = {"a": Call(clock.takes("a", 0.1)), "b": Call(clock.takes("b", 0.2))}
    samples = interleave(calls, Budget(seconds=2.0, min_rounds=3, max_rounds=50), clock)
    assert samples["a"] == pytest.approx([0.1] * len(samples["a"]))
    assert samples["b"] == pytest.approx([0.2] * len(samples["a"]))
    # One round warms up, then they alternate until the time is over.
    assert clock.called == ["a", "b"] * (len(samples["a"]) + 1)
    assert 2.0 < clock.now < 2.4


def test_a_short_call_is_repeated_and_warmed_up() -> None:
    clock = Clock()
    samples = interleave(
        {"a": Call(clock.takes("a", 1e-4))},
        Budget(seconds=0.0, min_rounds=1, sample_s=1e-3),
        clock,
    )
    assert samples["a"] == pytest.approx([1e-4])
    assert len(clock.called) == 1 + 1 + 10


def test_there_are_as_many_rounds_as_asked_for() -> None:
    clock = Clock()
    calls = {"a": Call(clock.takes("a", 0.1))}
    assert len(interleave(calls, Budget(0.0, min_rounds=4), clock)["a"]) == 4
    assert len(interleave(calls, Budget(1e9, max_rounds=5), clock)["a"]) == 5


def test_what_is_slow_is_left_out_of_later_rounds() -> None:
    clock = Clock()
    calls = {
        "slow": Call(clock.takes("slow", 1.0)),
        "ceiling": Call(clock.takes("ceiling", 1.0), every_round=True),
        "fast": Call(clock.takes("fast", 0.1)),
    }
    samples = interleave(calls, Budget(0.0, min_rounds=4, slow_s=0.5, slow_rounds=2), clock)
    assert samples["slow"] == [1.0, 1.0, None, None]
    assert None not in samples["ceiling"] + samples["fast"]
    assert ratio(samples["slow"], samples["fast"]) == pytest.approx(10.0)


@pytest.mark.parametrize("first", [0.4, 3.0])
def test_the_first_call_is_not_counted(first: float) -> None:
    """It got its memory from the system: what was slow only then is measured in every round."""
    clock = Clock()
    calls = {"a": Call(clock.takes("a", first, 0.15, 0.1, 0.2, 0.3))}
    samples = interleave(calls, Budget(0.0, min_rounds=3, slow_s=0.5), clock)
    assert samples == {"a": pytest.approx([0.1, 0.2, 0.3])}


def test_slow_calls_are_measured_once() -> None:
    clock = Clock()
    calls = {"slow": Call(clock.takes("slow", 1.0)), "fast": Call(clock.takes("fast", 0.1))}
    samples = interleave(calls, Budget(0.0, min_rounds=2), clock)
    assert samples == {"slow": [1.0, None], "fast": pytest.approx([0.1, 0.1])}
    assert clock.called == ["slow", "fast", "slow", "fast", "fast"]


def test_repeats_follow_the_fastest_sample() -> None:
    """A first call that compiled does not say how often a sample repeats it."""
    clock = Clock()
    call = Call(clock.takes("a", 0.02, 1e-4), warm=False)
    samples = interleave({"a": call}, Budget(0.0, min_rounds=2), clock)
    assert samples["a"] == pytest.approx([1e-4, 1e-4])
    assert len(clock.called) == 1 + 1 + 10 + 10


def test_no_call_is_needed_to_find_out_what_is_known() -> None:
    clock = Clock()
    call = Call(clock.takes("a", 1e-5), warm=False, repeats=3)
    samples = interleave({"a": call}, Budget(0.0, min_rounds=2), clock)
    assert samples["a"] == pytest.approx([1e-5, 1e-5])
    assert clock.called == ["a"] * 6


def test_preparation_comes_first_and_is_not_measured() -> None:
    clock = Clock()
    call = Call(clock.takes("run", 0.1), clock.takes("prepare", 5.0))
    samples = interleave({"a": call}, Budget(0.0, min_rounds=2), clock)
    assert samples["a"] == pytest.approx([0.1, 0.1])
    assert clock.called == ["prepare", "run"] * 3


def test_a_ratio_is_of_what_was_measured_in_the_same_round() -> None:
    """The machine halves its speed after two rounds: no ratio changes."""
    assert ratio([2.0, 2.0, 4.0, 4.0], [1.0, 1.0, 2.0, 2.0]) == 2.0
    assert ratio([2.0, None, 9.0], [1.0, 5.0, 3.0]) == 2.5
    assert median([3.0, None, 1.0, 2.0]) == 2.0


def test_the_fastest_rounds_become_one() -> None:
    assert fastest({"a": [3.0, 2.0, 5.0], "b": [1.0, None, 4.0]}) == {"a": [2.0], "b": [1.0]}
