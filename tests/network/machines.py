"""A host with all that a user's machine has: a home folder, a Kubo daemon, and a peer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netns import Host
from waiting import wait_until

from learnae.learn.magic import COLUMNS, LABEL
from learnae.learn.tabular import Table

__all__ = ["Machine", "write_csv"]

# One thread for arithmetic: a few peers share the machine.
QUIET = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def write_csv(path: Path, table: Table) -> None:
    """Write a table of the MAGIC data as a user has it."""
    assert table.y is not None
    lines = [",".join([*COLUMNS, LABEL])]
    for row, y in zip(table.x.tolist(), table.y.tolist(), strict=True):
        lines.append(",".join([*map(str, row), "gh"[y]]))
    path.write_text("\n".join(lines) + "\n")


class Machine:
    """One host and the user's folder on it; all paths of the user's are below `folder`."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host, self.folder = host, folder
        folder.mkdir(parents=True)
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        self.env = {
            **QUIET,
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            # What was compiled or built once is not done again on every host.
            "XDG_CACHE_HOME": cache,
        }
        self.peer: subprocess.Popen[bytes] | None = None
        self._deaths: list[float] = []

    @property
    def log(self) -> Path:
        return self.folder / "peer.log"

    @property
    def home(self) -> Path:
        """The peer's folder: as `join` names it, or where learnae puts it by itself."""
        found = list((self.folder / "data").glob("learnae/*/peer"))
        return found[0] if found else self.folder / "peer"

    def learnae(self, *arguments: str | Path, **options: Any) -> str:
        """Run a command of learnae to its end and return what it prints."""
        command: Sequence[str | Path] = [sys.executable, "-m", "learnae", *arguments]
        return self.host.run(command, env=self.env, cwd=self.folder, **options).stdout

    def up(self, charter: str | Path = "swarm.toml", *arguments: str) -> str:
        """Start the swarm's daemon where the other hosts reach it; return the transport."""
        listen = f"/ip4/{self.host.address}/tcp/4001"
        said = self.learnae("ipfs", "up", charter, "--listen", listen, *arguments)
        (transport,) = re.findall(r"--transport (ipfs:\S+)", said)
        return transport

    def addresses(self, charter: str | Path = "swarm.toml") -> list[str]:
        """Return the multiaddrs of this host's daemon."""
        found = json.loads(self.learnae("ipfs", "status", charter, "--json"))
        return list(found["addresses"])

    def join(self, *arguments: str | Path) -> None:
        """Start the peer."""
        command = [sys.executable, "-m", "learnae", "join", *arguments, "--home", self.home]
        self.peer = self.host.start(command, env=self.env, cwd=self.folder, log=self.log)

    def kill_peer(self) -> None:
        """Kill -9."""
        assert self.peer is not None
        self.host.kill(self.peer)
        self._deaths.append(time.time())

    def was_dead(self, since: float, until: float) -> bool:
        """Whether the peer was killed between two times."""
        return any(since <= death <= until for death in self._deaths)

    def stop_peer(self) -> None:
        """SIGTERM, and a clean end."""
        assert self.peer is not None
        assert self.host.stop(self.peer) == 0, self.tail()

    def kill_daemon(self) -> None:
        """Kill -9 whatever Kubo runs on this host."""
        killed = 0
        for process in self.host.processes():
            if process.name() == "ipfs":
                process.kill()
                killed += 1
        assert killed

    def status(self) -> dict[str, Any]:
        """Return the peer's status; empty before it has one."""
        try:
            found = json.loads((self.home / "status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        assert isinstance(found, dict)
        return found

    @property
    def round(self) -> int:
        return int(self.status().get("round", 0))

    def rounds(self) -> list[dict[str, Any]]:
        """Return the rounds that the peer has logged."""
        try:
            lines = (self.home / "rounds.jsonl").read_text().splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # a peer that was killed may leave half a line
        return found

    def wait_for_round(self, number: int, deadline_s: float) -> None:
        """Wait until the peer has finished a round."""

        def reached() -> bool:
            assert self.peer is not None
            assert self.peer.poll() is None, f"the peer has ended: {self.tail()}"
            return self.round >= number

        wait_until(f"round {number} on {self.host.name}: {self.tail()}", reached, deadline_s)

    def tail(self, n: int = 15) -> str:
        """Return the last lines of the peer's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-n:])
