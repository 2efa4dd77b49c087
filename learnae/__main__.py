"""Run the command line: ``python -m learnae``."""

from __future__ import annotations

from learnae.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="learnae")
