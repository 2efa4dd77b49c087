"""A file that a command writes: never over another one unasked, and an error names it."""

from __future__ import annotations

from pathlib import Path

from learnae.errors import UsageError

__all__ = ["require_free", "write"]


def require_free(out: Path, *, force: bool) -> None:
    """Raise `UsageError` if `out` is there already, unless `force` says that it may go."""
    if out.exists() and not force:
        raise UsageError(f"{out} exists: choose another name, or overwrite it with --force")


def write(out: Path, data: bytes) -> None:
    """Write `data` to `out`; `UsageError` where that cannot be done."""
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
