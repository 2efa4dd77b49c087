"""Waiting for real daemons, and cleaning them; import as `transports.daemons`."""

from __future__ import annotations

import time
from collections.abc import Callable

from kubo import Kubos

__all__ = ["DEADLINE_S", "forget_all", "until"]

DEADLINE_S = 20.0


def until(done: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until `done()` is true: another process has no event that could be waited for."""
    end = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end, f"not within {deadline_s:g} s"
        time.sleep(0.01)


def forget_all(kubos: Kubos) -> None:
    """Unpin and collect everything, so that no test sees another's objects."""
    for kubo in kubos.all():
        rpc = kubo.rpc()
        for kind in ("recursive", "direct"):
            pins = rpc.call("pin/ls", options={"type": kind})[0].get("Keys") or {}
            for text in pins:
                rpc.call("pin/rm", text, options={"recursive": str(kind == "recursive").lower()})
        rpc.call("repo/gc")
