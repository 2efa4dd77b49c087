"""The demo's processes: peers and helpers of one run, each started and stopped by its own pid.

Every child reads from a pipe whose other end only this process holds, and stops when it closes:
however this process ends, `kill -9` included, no child outlives it for long.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from learnae.cli.demo.plan import PeerPlan, Plan
from learnae.errors import LearnaeError

__all__ = ["Peers", "run_to_json", "total_pss_nbytes"]

# A peer says goodbye and writes a checkpoint in well under a second; on a loaded machine less
# well. After this it is killed.
GRACE_S = 10.0
TAIL_LINES = 15


def child_environment() -> dict[str, str]:
    """Return the environment of a child: one thread for arithmetic, CPU only.

    Six processes share the machine; without this each of them would start a pool of threads as
    large as the machine and wait for threads that do not run.
    """
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    known = os.environ.get("XLA_FLAGS", "")
    environment = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{known} {flags}".strip(),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = "1"
    # `python -m learnae` must find the very package that is running now, installed or not.
    package = str(Path(__file__).resolve().parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)}


def tail(log: Path) -> str:
    """Return the last lines of a log, for a person who has to find out what went wrong."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-TAIL_LINES:]) or "(empty log)"


def run_to_json(name: str, arguments: Sequence[str], log: Path) -> dict[str, Any]:
    """Run ``python ARGUMENTS`` and return the JSON object it prints.

    Raises
    ------
    LearnaeError
        If it fails: one line, after its log's last lines went to standard error.
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=child_environment(),
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        with process.stdin, process.stdout:
            try:
                output = process.stdout.read()  # until the child ends; its input stays open
            except BaseException:
                process.kill()
                raise
            finally:
                process.wait()
    if process.returncode != 0:
        raise failure(name, process.returncode, log)
    found = json.loads(output)
    assert isinstance(found, dict)
    return found


def failure(name: str, code: int, log: Path) -> LearnaeError:
    """Return the error for a child that ended wrongly, after showing the end of its log."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    print(f"--- the last lines of {name}'s log\n{tail(log)}\n---", file=sys.stderr, flush=True)
    return LearnaeError(f"{name} {how}; its whole log is {log}")


class Peers:
    """The peer processes of one run. Use as a context manager: leaving it ends them all."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._by_name: Mapping[str, PeerPlan] = {peer.name: peer for peer in plan.peers}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + (GRACE_S if exception[0] is None else GRACE_S / 2)
        for name in list(self._running):
            self._reap(name, deadline)

    def start(self, name: str) -> None:
        """Start ``learnae join`` for a peer; with the home it had, if it ran before."""
        peer, plan = self._by_name[name], self._plan
        command = [
            *(sys.executable, "-m", "learnae", "join", str(plan.charter)),
            *("--data", str(peer.data), "--home", str(peer.home), "--test", str(plan.test)),
            *("--transport", plan.transport(name), "--cache", str(plan.cache), "--stop-on-eof"),
        ]
        with peer.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal must reach this process only, which
            # then stops the peers in order.
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(),
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End a peer with SIGKILL, as a power failure would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def alive(self) -> dict[str, int]:
        """Return name and pid of every peer that runs.

        Raises
        ------
        LearnaeError
            If one has ended by itself: peers go on until they are told to stop.
        """
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                raise failure(name, code, self._by_name[name].log)
        return {name: process.pid for name, process in self._running.items()}

    def stop(self) -> None:
        """Ask all peers to stop, and wait until they have.

        Raises
        ------
        LearnaeError
            If one does not end in time or not with code 0.
        """
        self.alive()
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for name in list(self._running):
            code = self._reap(name, deadline)
            if code != 0:
                raise failure(name, code, self._by_name[name].log)

    def _reap(self, name: str, deadline: float) -> int:
        """Wait for one peer until `deadline`, kill it if it is still there; return its code."""
        process = self._running.pop(name)
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return process.returncode


def total_pss_nbytes(pids: Sequence[int]) -> int | None:
    """Return the sum of the processes' proportional set sizes; None where the system has none."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            return None
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
