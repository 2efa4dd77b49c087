"""Real Kubo daemons for tests: private, on loopback, gone when the test process is.

A daemon that a killed test run left behind is stopped by the next one: each notes its repo in a
folder of this user, together with the pid of the tests that started it.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from require import need

from learnae.errors import UsageError
from learnae.node.kubo import (
    LOOPBACK,
    Daemon,
    RepoOptions,
    find_binary,
    init_repo,
    start_daemon,
    stop_daemon,
)
from learnae.node.kubo.daemon import daemon_pid
from learnae.transports.ipfs import Rpc
from learnae.transports.keys import kubo_swarm_key

__all__ = ["SWARM_ID", "SWARM_KEY", "Kubo", "Kubos", "need_kubo"]

SWARM_KEY, SWARM_ID = b"k" * 32, b"i" * 32
_NOTES = Path(tempfile.gettempdir()) / f"learnae-test-kubos.{os.getuid()}"


def need_kubo() -> Path:
    """Return the binary; skip (or fail) where there is none."""
    try:
        return find_binary()
    except UsageError as error:
        need(False, str(error))
        raise


class Kubo:
    """One private daemon on loopback.

    Attributes
    ----------
    name, repo
        Its own.
    daemon
        As it was when it was started last.
    """

    def __init__(self, name: str, repo: Path) -> None:
        self.name, self.repo = name, repo
        key = kubo_swarm_key(SWARM_KEY, SWARM_ID)
        init_repo(repo, RepoOptions(swarm_key_text=key, listen=(LOOPBACK,)))
        self.daemon: Daemon = self.start()

    @property
    def transport(self) -> str:
        """The transport's address as users write it."""
        return f"ipfs:{self.repo}"

    @property
    def api(self) -> str:
        return self.daemon.api

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.daemon.addresses

    @property
    def pid(self) -> int:
        assert self.daemon.pid is not None
        return self.daemon.pid

    def rpc(self) -> Rpc:
        return Rpc(str(self.repo))

    def start(self) -> Daemon:
        """Start it (again)."""
        self.daemon = start_daemon(self.repo)
        return self.daemon

    def stop(self) -> None:
        """Stop it in order."""
        stop_daemon(self.repo)

    def kill(self) -> None:
        """Kill -9."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def connect(self, other: Kubo) -> None:
        """Connect to another daemon, now."""
        self.rpc().call("swarm/connect", other.addresses[0])

    def blocks(self, cid_text: str) -> list[Path]:
        """Return the files of all blocks of an object that this repo has."""
        listing: list[Any] = [{"Ref": cid_text}]
        options = {"recursive": "true", "offline": "true"}
        listing += self.rpc().call("refs", cid_text, options=options)
        names = [_file_of(entry["Ref"]) for entry in listing if entry.get("Ref")]
        paths = [self.repo / "blocks" / name[-2] / f"{name}.data" for name in names]
        return [path for path in paths if path.exists()]


class Kubos:
    """Daemons by name, started when first asked for and connected to all before them."""

    def __init__(self, folder: Path) -> None:
        need_kubo()
        self.folder = folder
        self._kubos: dict[str, Kubo] = {}
        _NOTES.mkdir(exist_ok=True)
        _stop_orphans()
        self._note = _NOTES / f"{os.getpid()}-{id(self)}"
        self._note.write_text(str(folder))
        atexit.register(self.close)

    def __getitem__(self, name: str) -> Kubo:
        if name not in self._kubos:
            new = Kubo(name, self.folder / name)
            for other in self._kubos.values():
                new.connect(other)
            self._kubos[name] = new
        return self._kubos[name]

    def all(self) -> list[Kubo]:
        return list(self._kubos.values())

    def close(self) -> None:
        """Stop all of them. May be called again."""
        for kubo in self._kubos.values():
            _kill(kubo.repo)
        self._kubos.clear()
        self._note.unlink(missing_ok=True)
        atexit.unregister(self.close)


def _file_of(cid_text: str) -> str:
    """Return the name of a block's file: the multihash in base32, upper case."""
    raw = base64.b32decode(cid_text[1:].upper() + "=" * (-(len(cid_text) - 1) % 8))
    return base64.b32encode(raw[2:]).decode().rstrip("=")


def _kill(repo: Path) -> None:
    pid = daemon_pid(repo)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _stop_orphans() -> None:
    """Kill the daemons of test runs that were killed themselves."""
    for note in _NOTES.iterdir():
        pid = int(note.name.partition("-")[0])
        if Path(f"/proc/{pid}").exists():
            continue
        with contextlib.suppress(OSError):
            for repo in Path(note.read_text()).iterdir():
                _kill(repo)
        note.unlink(missing_ok=True)
