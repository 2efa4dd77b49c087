"""Waiting for what other processes do: they have no event for it, so it is looked at repeatedly."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["wait_until"]


def wait_until(
    what: str, done: Callable[[], object], deadline_s: float, *, poll_s: float = 0.1
) -> float:
    """Wait until `done()` is true, and fail after `deadline_s`; return how long it took."""
    began = time.monotonic()
    while not done():
        took = time.monotonic() - began
        assert took < deadline_s, f"{what}: not within {deadline_s:g} s"
        time.sleep(poll_s)
    return time.monotonic() - began
