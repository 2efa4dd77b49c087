"""Starting, watching and stopping the daemon of a repo, and refusing one that will not do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from learnae.errors import StateError, TransportError, UsageError
from learnae.node.kubo.binary import CURE, MIN_VERSION, find_binary, parse_version
from learnae.node.kubo.repo import SWARM_KEY, daemon_environment, is_repo, network_of
from learnae.transports.atomic import explain
from learnae.transports.ipfs import Rpc, describe

__all__ = [
    "Daemon",
    "DaemonStatus",
    "await_daemon",
    "check_daemon",
    "daemon_command",
    "daemon_pid",
    "inspect_daemon",
    "start_daemon",
    "stop_daemon",
]

LOG = "daemon.log"
PID = "learnae.pid"
LOCK = "learnae.lock"
_PORT_CURE = (
    "another program has its port: end that, or choose a free one (learnae ipfs up CHARTER "
    "--listen /ip4/0.0.0.0/tcp/PORT) and invite again, since invites name it"
)


@dataclass(frozen=True)
class Daemon:
    """A daemon that runs.

    Attributes
    ----------
    repo, pid, api
        Its folder, its process, and the multiaddr of its RPC interface.
    peer_id, addresses
        Who it is in libp2p, and where it listens.
    """

    repo: Path
    pid: int | None
    api: str
    peer_id: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class DaemonStatus:
    """What can be seen of a daemon.

    Attributes
    ----------
    running
        Whether it answers.
    repo, pid, api
        Where it is; None where that is not known.
    version, peer_id, addresses, n_peers, pubsub
        See `learnae.transports.ipfs.DaemonFacts`.
    private
        Whether its network has a swarm key; None if its repo is not on this machine.
    repo_nbytes
        How large its repo is.
    """

    running: bool
    repo: str | None = None
    pid: int | None = None
    api: str | None = None
    version: str | None = None
    peer_id: str | None = None
    addresses: tuple[str, ...] = ()
    n_peers: int = 0
    pubsub: bool = False
    private: bool | None = None
    repo_nbytes: int | None = None

    @property
    def network(self) -> str:
        """In which network it is, in words."""
        if self.private is None:
            return "network unknown"
        return "private network" if self.private else "public network"


def start_daemon(repo: Path, *, deadline_s: float = 60.0) -> Daemon:
    """Start the daemon of a repo, or find it running, and wait until it answers.

    Raises
    ------
    UsageError
        There is no repo, no Kubo, or the daemon does not start; with its own last words.
    """
    if not is_repo(repo):
        raise UsageError(f"{repo} holds no IPFS repo: `learnae ipfs up` makes one")
    with _alone(repo):
        running = _running(repo)
        if running is not None:
            return running
        if daemon_pid(repo) is not None:  # it is starting, or too busy to answer
            return await_daemon(repo, lambda: daemon_pid(repo) is not None, deadline_s)
        return _start(repo, deadline_s)


@contextlib.contextmanager
def _alone(repo: Path) -> Iterator[None]:
    """Keep others out: several peers that share a daemon may start at the same time."""
    try:
        fd = os.open(repo / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(explain(error, "lock the IPFS repo", str(repo))) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _start(repo: Path, deadline_s: float) -> Daemon:
    with open(repo / LOG, "wb") as log:
        process = subprocess.Popen(
            daemon_command(),
            env=daemon_environment(repo, private=(repo / SWARM_KEY).exists()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (repo / PID).write_text(f"{process.pid}\n", encoding="ascii")
    try:
        found = await_daemon(repo, lambda: process.poll() is None, deadline_s)
    except UsageError:
        process.kill()
        process.wait()
        raise
    process.returncode = 0  # it goes on without us: no warning that it still runs
    return found


def daemon_command() -> list[str]:
    """Return the command that runs the daemon of the repo in its environment."""
    return [str(find_binary()), "daemon", "--enable-gc", "--migrate=false"]


def await_daemon(repo: Path, is_alive: Callable[[], bool], deadline_s: float) -> Daemon:
    """Wait until the daemon that was started on a repo answers.

    Raises
    ------
    UsageError
        It ended, with its own last words, or is not ready in time.
    """
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        alive = is_alive()
        found = _running(repo)
        if found is not None:
            return found
        if not alive:
            raise UsageError(f"the IPFS daemon on {repo} did not start: {_last_words(repo)}")
        time.sleep(0.05)
    raise UsageError(f"the IPFS daemon on {repo} was not ready within {deadline_s:g} s")


# Kubo waits for half a minute until nobody listens any more, as a peer does all the time; unless it
# is told a second time. Its stores bear that, as they bear being killed.
_PATIENCE_S = 5.0


def stop_daemon(repo: Path, *, deadline_s: float = 15.0) -> bool:
    """Stop the daemon of a repo and wait until it is gone; False if none was running.

    Raises
    ------
    UsageError
        It does not end.
    """
    pid = daemon_pid(repo)
    if pid is None:
        return _shut_down(repo, deadline_s)
    for wait_s in (min(_PATIENCE_S, deadline_s), deadline_s):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if _ended(pid, wait_s):
            break
    else:
        raise UsageError(f"the IPFS daemon {pid} on {repo} does not stop: kill {pid}")
    with contextlib.suppress(FileNotFoundError):
        (repo / PID).unlink()
    return True


def _shut_down(repo: Path, deadline_s: float) -> bool:
    """Ask a daemon that somebody else started to end, and wait; False if there is none."""
    if _running(repo) is None:
        return False
    with contextlib.suppress(TransportError):  # it may end before it answers
        Rpc(str(repo)).call("shutdown", deadline_s=deadline_s)
    deadline = time.monotonic() + deadline_s
    while (repo / "api").exists() and _running(repo) is not None:
        if time.monotonic() > deadline:
            raise UsageError(f"the IPFS daemon on {repo} does not stop: kill it")
        time.sleep(0.05)
    return True


def inspect_daemon(api: str) -> DaemonStatus:
    """Look at the daemon at a multiaddr, or on the repo of this path; never fails.

    Raises
    ------
    UsageError
        `api` is not an address.
    """
    rpc = Rpc(api)
    pid = None if rpc.repo is None else daemon_pid(Path(rpc.repo))
    try:
        facts = describe(rpc)
        stat = rpc.call("repo/stat")[0]
        where = rpc.api()
    except TransportError:
        return DaemonStatus(running=False, repo=rpc.repo, pid=pid)
    if rpc.repo is not None and not _is_of(Path(rpc.repo), facts.peer_id):
        return DaemonStatus(running=False, repo=rpc.repo, pid=pid)
    repo = rpc.repo or str(stat.get("RepoPath") or "") or None
    # In a container the same path may be another daemon's.
    visible = repo is not None and is_repo(Path(repo)) and _is_of(Path(repo), facts.peer_id)
    return DaemonStatus(
        running=True,
        repo=repo,
        pid=pid,
        api=where,
        version=facts.version,
        peer_id=facts.peer_id,
        addresses=facts.addresses,
        n_peers=facts.n_peers,
        pubsub=facts.pubsub,
        private=(Path(repo) / SWARM_KEY).exists() if visible and repo is not None else None,
        repo_nbytes=int(stat.get("RepoSize") or 0),
    )


def check_daemon(api: str, *, swarm_key_text: str | None, public: bool = False) -> DaemonStatus:
    """Look at a daemon and refuse one that will not do for a swarm.

    Parameters
    ----------
    api
        As for `inspect_daemon`.
    swarm_key_text
        What the ``swarm.key`` of its repo must hold; None if that is not known.
    public
        Whether a daemon in the public network is accepted.

    Raises
    ------
    UsageError
        It does not answer, is too old, has pubsub off, or is in the wrong network; with the cure.
    """
    status = inspect_daemon(api)
    if not status.running:
        raise UsageError(f"no IPFS daemon answers at {api}: start it with `learnae ipfs up`")
    _require_version(api, status.version or "")
    if not status.pubsub:
        raise UsageError(
            f"the IPFS daemon at {api} has pubsub off: `ipfs config --json Pubsub.Enabled true`, "
            "then start it again"
        )
    if public or status.private is None:
        return status
    if not status.private:
        raise UsageError(
            f"the IPFS daemon at {api} is in the public network, where everybody could fetch "
            "what you publish: use `learnae ipfs up` for a private one, or say --public"
        )
    there = network_of(Path(status.repo or ""))
    if swarm_key_text is not None and there is not None and there != swarm_key_text:
        raise UsageError(
            f"the IPFS daemon at {api} is in another private network than this swarm: "
            "use `learnae ipfs up`, which makes one for it"
        )
    return status


def daemon_pid(repo: Path) -> int | None:
    """Return the process of the daemon that was started on a repo here, if it still runs."""
    try:
        pid = int((repo / PID).read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    # After a reboot the number may be another program's, and most likely another repo's daemon's.
    ours = b"daemon" in command and os.fsencode(f"IPFS_PATH={repo.absolute()}") in environment
    return pid if ours and state != "Z" else None


def _running(repo: Path) -> Daemon | None:
    rpc = Rpc(str(repo))
    try:
        facts = rpc.call("id", deadline_s=5.0)[0]
        api = rpc.api()
    except TransportError:
        return None
    if not _is_of(repo, str(facts.get("ID"))):
        return None
    addresses = tuple(str(address) for address in facts.get("Addresses") or [])
    return Daemon(repo, daemon_pid(repo), api, str(facts.get("ID")), addresses)


def _is_of(repo: Path, peer_id: str) -> bool:
    """Whether the daemon of this peer id is the repo's own.

    The file `api` outlives a daemon that was killed, and its port may be another daemon's by now.
    """
    try:
        config = json.loads((repo / "config").read_bytes())
        return bool(config["Identity"]["PeerID"] == peer_id)
    except (OSError, ValueError, LookupError, TypeError):
        return True  # not for us to see


def _require_version(api: str, text: str) -> None:
    try:
        version = parse_version(text)
    except ValueError:
        version = (0, 0, 0)
    if version < MIN_VERSION:
        need = ".".join(map(str, MIN_VERSION))
        raise UsageError(f"the IPFS daemon at {api} is Kubo {text}, not {need} or newer: {CURE}")


def _ended(pid: int, deadline_s: float) -> bool:
    """Wait until a process has ended; False if it has not in time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([fd], [], [], deadline_s)
    finally:
        os.close(fd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # if it was started by this very process
    return bool(readable)


def _last_words(repo: Path) -> str:
    try:
        lines = (repo / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.lower().startswith("error")]
    words = (errors or said or ["it said nothing"])[-1][:300]
    return f"{words}; {_PORT_CURE}" if "address already in use" in words else words
