"""One peer with I/O and a clock: folder, threads, training, and `learnae.join`."""

from __future__ import annotations

__all__: list[str] = []
