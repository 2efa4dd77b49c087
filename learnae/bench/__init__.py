"""The benchmark, ``python -m learnae.bench``: each kernel beside the ceiling and its rivals.

What is measured, and how to read it, is in docs/benchmarks.md. By concern:

- `machine`, `streams`, `bandwidth`: what this machine is and what its memory can do;
- `timing`: calls in turns, medians of what was measured side by side;
- `floor`: from the bytes that a kernel must move to the time that they need at least;
- `weights`, `cases`: the inputs, and one entry per kernel;
- `rivals`: the same work by others, one module per library;
- `choice`, `groups`, `report`: what runs, in which rounds, and rows as the JSON has them;
- `table`, `plot`: for people.
"""

from __future__ import annotations

__all__: list[str] = []
