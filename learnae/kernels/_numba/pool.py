"""Chunks of a model, done by as many threads as asked for: numba's loops release the GIL.

Not numba's own threads: their simplest layer aborts the process when two callers come at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

__all__ = ["CHUNK", "n_threads", "run", "set_threads"]

# Elements. A chunk's sum stays in the second-level cache between two passes, and the few calls from
# Python are a small part of its time.
CHUNK = 131072

_lock = Lock()
_n_threads = 1
_helpers: ThreadPoolExecutor | None = None


def n_threads() -> int:
    return _n_threads


def set_threads(n: int) -> None:
    global _n_threads, _helpers
    with _lock:
        before, _helpers = _helpers, ThreadPoolExecutor(n - 1) if n > 1 else None
        _n_threads = n
    if before is not None:
        before.shutdown()


def run(make_job: Callable[[], Callable[[slice], None]], n_elements: int) -> None:
    """Call a job once for each chunk; each thread makes its own, with a place for its sums.

    The caller waits for no helper that has not started.
    """
    chunks = iter([slice(at, at + CHUNK) for at in range(0, n_elements, CHUNK)])
    taking = Lock()

    def work() -> None:
        job = make_job()
        for chunk in _shared(chunks, taking):
            job(chunk)

    helpers: list[Future[None]] = []
    with _lock:
        if _helpers is not None and n_elements > 2 * CHUNK:
            helpers = [_helpers.submit(work) for _ in range(_n_threads - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


def _shared(chunks: Iterator[slice], taking: Lock) -> Iterator[slice]:
    while True:
        with taking:
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _forget_helpers() -> None:
    # In a child made by fork() the helpers do not exist, and the lock may be held by one of them.
    global _lock, _n_threads, _helpers
    _lock, _n_threads, _helpers = Lock(), 1, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
