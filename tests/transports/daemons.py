"""Waiting for real daemons, and cleaning them; import as `transports.daemons`."""

from __future__ import annotations

from collections.abc import Callable

from waiting import wait_until

from kubo import Kubos

__all__ = ["DEADLINE_S", "forget_all", "until"]

DEADLINE_S = 20.0


def until(done: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until the daemons have made `done()` true."""
    wait_until("what daemons should do", done, deadline_s, poll_s=0.01)


def forget_all(kubos: Kubos) -> None:
    """Unpin and collect everything, so that no test sees another's objects."""
    for kubo in kubos.all():
        rpc = kubo.rpc()
        for kind in ("recursive", "direct"):
            pins = rpc.call("pin/ls", options={"type": kind})[0].get("Keys") or {}
            for text in pins:
                rpc.call("pin/rm", text, options={"recursive": str(kind == "recursive").lower()})
        rpc.call("repo/gc")
