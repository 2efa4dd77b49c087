"""Finding Kubo's one binary, and telling whether it is recent enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from learnae.errors import UsageError

__all__ = [
    "KUBO_VERSION",
    "MIN_VERSION",
    "binary_version",
    "cached_binary",
    "find_binary",
    "parse_version",
]

#: What ``make kubo`` builds.
KUBO_VERSION = "0.43.0"
#: Older ones have a hole in pubsub (CVE-2026-46679).
MIN_VERSION = (0, 43, 0)

ENVIRONMENT = "LEARNAE_KUBO"
CURE = f"`make kubo` in learnae's repository builds {KUBO_VERSION}; or install it as `ipfs` on PATH"


def cached_binary() -> Path:
    """Return where ``make kubo`` puts the binary: in this user's cache folder."""
    import platformdirs

    return platformdirs.user_cache_path("learnae") / "kubo" / KUBO_VERSION / "ipfs"


def find_binary() -> Path:
    """Return a Kubo that is recent enough: LEARNAE_KUBO, the user's cache, PATH, in this order.

    Raises
    ------
    UsageError
        There is none, or the one named by LEARNAE_KUBO is too old; with the cure.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        require_version(Path(named), f"{ENVIRONMENT}={named}")
        return Path(named)
    if os.access(cached_binary(), os.X_OK):
        return cached_binary()
    found = shutil.which("ipfs")
    if found is None:
        raise UsageError(f"no Kubo (IPFS) found: {CURE}")
    require_version(Path(found), found)
    return Path(found)


def binary_version(path: Path) -> tuple[int, int, int]:
    """Return the version that a binary says it has.

    Raises
    ------
    UsageError
        It cannot be run, or is not Kubo.
    """
    try:
        done = subprocess.run(
            [path, "version", "--number"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{path} cannot be run ({error}): {CURE}") from error
    try:
        return parse_version(done.stdout)
    except ValueError:
        raise UsageError(f"{path} is not Kubo: {CURE}") from None


def parse_version(text: str) -> tuple[int, int, int]:
    """Read a version such as ``0.43.0`` or ``0.44.0-rc1``.

    Raises
    ------
    ValueError
        It is none.
    """
    match = re.match(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a version")
    return int(match[1]), int(match[2]), int(match[3])


def require_version(path: Path, name: str) -> None:
    """Raise `UsageError` if the binary is too old."""
    version = binary_version(path)
    if version < MIN_VERSION:
        have, need = (".".join(map(str, v)) for v in (version, MIN_VERSION))
        raise UsageError(f"{name} is Kubo {have}, at least {need} is needed: {CURE}")
