"""Tests that need a tool which a user may not have.

A user sees such a test skipped, with the reason. Where LEARNAE_REQUIRE_ALL=1 is set (as
``.ci/run`` does), a missing tool is a failure: nothing is left out unseen.
"""

from __future__ import annotations

import os

import pytest

__all__ = ["need", "require_all"]


def require_all() -> bool:
    """Whether a missing tool must fail the test that needs it."""
    return os.environ.get("LEARNAE_REQUIRE_ALL") == "1"


def need(condition: object, reason: str) -> None:
    """Go on only where `condition` is true; else skip, or fail where nothing may be skipped."""
    if condition:
        return
    if require_all():
        pytest.fail(f"{reason}, and LEARNAE_REQUIRE_ALL=1 forbids to skip", pytrace=False)
    pytest.skip(reason)
