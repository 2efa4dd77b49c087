"""How messages say how many there are. Every part has messages, so this imports nothing."""

from __future__ import annotations

__all__ = ["count"]


def count(n: int, noun: str) -> str:
    """Return a number and its noun: ``0 rows``, ``1 row``, ``1,200 rows``."""
    return f"{n:,} {noun}" + "s" * (n != 1)
