"""The demo's IPFS daemons: one for each peer, in a private network that stays on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from learnae.cli.demo.plan import Plan
from learnae.node.join import read_charter
from learnae.node.kubo.daemon import LOG, Daemon, await_daemon, daemon_command
from learnae.node.kubo.repo import LOOPBACK, RepoOptions, daemon_environment, init_repo
from learnae.node.swarmkey import create_swarm_key
from learnae.transports.ipfs import Rpc
from learnae.transports.keys import kubo_swarm_key

__all__ = ["Daemons"]

READY_S = 120.0
GRACE_S = 10.0
# The shell ends the daemon when its standard input closes: however the demo ends, kill -9
# included, no daemon outlives it for long. And it ends when the daemon does, which then is told.
TIED = (
    'exec 3<&0; "$@" 3<&- & daemon=$!; { read -r _ <&3; kill "$daemon"; } & reader=$!; '
    'wait "$daemon"; kill "$reader" 2>/dev/null'
)


class Daemons:
    """The daemons of one run. Use as a context manager: leaving it ends them all."""

    def __init__(self, plan: Plan) -> None:
        self._repos = {peer.name: plan.repo(peer.name) for peer in plan.peers}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        key = create_swarm_key(plan.swarm_key)
        self._key_text = kubo_swarm_key(key, read_charter(plan.charter).swarm_id)

    def __len__(self) -> int:
        return len(self._repos)

    def __enter__(self) -> Daemons:
        try:
            for name, repo in self._repos.items():
                options = RepoOptions(swarm_key_text=self._key_text, listen=(LOOPBACK,))
                init_repo(repo, options)
                self._processes[name] = self._start(repo)
            ready = [self._await(name) for name in self._repos]
            for index, daemon in enumerate(ready):
                for other in ready[:index]:
                    Rpc(str(daemon.repo)).call("swarm/connect", other.addresses[0])
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _start(self, repo: Path) -> subprocess.Popen[bytes]:
        with open(repo / LOG, "wb") as log:
            return subprocess.Popen(
                ["sh", "-c", TIED, "sh", *daemon_command()],
                env=daemon_environment(repo, private=True),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await(self, name: str) -> Daemon:
        process = self._processes[name]
        return await_daemon(self._repos[name], lambda: process.poll() is None, READY_S)

    def _stop(self) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(timeout=GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the daemon too
                process.wait()
        self._processes.clear()
