"""The folder of one peer: who it is, where it stopped, what it is doing.

::

    key                  the private key, 64 hexadecimal digits, mode 0600
    swarm                the swarm's id, 64 hexadecimal digits
    lock                 locked and holding the pid while a process uses the folder
    head                 the last announcement, signed; written before it is published
    checkpoint           the state after some round, and the one before it,
    checkpoint.previous      which counts when the newer one is missing or damaged
    status.json          what the peer is doing, for people and programs
    rounds.jsonl         one line per round

Every file but the last is replaced as a whole, so a process that is killed leaves each of
them as it was before or as it should be after. Key and checkpoints are also synced to disk.
The head is not: syncing it takes half as much CPU again as writing it and a wait for the disk
in every round (243 against 93 microseconds on a fast virtual disk, far more on a slow one), and
it guards against nothing but a power cut. After one the peer goes on from its checkpoint's
sequence number, and is taken for a replay until it has passed the number that was lost: a few
rounds, or none where it hears its own last announcement and adopts its number.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from learnae.errors import CharterError, CheckpointError, IdentityError, StateError
from learnae.node.checkpoint import (
    MAX_CHECKPOINT_NBYTES,
    Checkpoint,
    checkpoint_chunks,
    decode_checkpoint,
)
from learnae.swarm.trust import Identity
from learnae.transports.atomic import explain, replace_file, sweep
from learnae.transports.seam import Buffer

__all__ = ["Checkpoint", "Home", "newest_checkpoint", "read_identity"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_SMALL_NBYTES = 1 << 16


class Home:
    """A peer's folder, locked for as long as it is open; made by `Home.open`.

    Attributes
    ----------
    path
        The folder.
    swarm_id
        32 bytes.
    identity
        The peer's key.
    damage
        One line about a checkpoint that `load_checkpoint` had to pass over, otherwise None.
    """

    def __init__(self, path: Path, swarm_id: bytes, lock_fd: int) -> None:
        self.path = path
        self.swarm_id = swarm_id
        self.damage: str | None = None
        self._lock_fd = lock_fd
        sweep(str(path))
        self._require_swarm()
        self.identity = read_identity(path) or self._new_identity()

    @staticmethod
    def open(path: str | os.PathLike[str], *, swarm_id: bytes) -> Home:
        """Open or create a peer's folder.

        Raises
        ------
        StateError
            The folder cannot be used, or another process uses it.
        CharterError
            It belongs to a peer of another swarm.
        IdentityError
            Its key is broken, or readable by others.
        """
        folder = Path(path).expanduser().absolute()
        lock_fd = -1
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = _lock(folder)
            return Home(folder, swarm_id, lock_fd)
        except OSError as error:
            where = os.fspath(error.filename or folder)
            _close(lock_fd)
            raise StateError(explain(error, "use", where)) from error
        except BaseException:
            _close(lock_fd)
            raise

    def close(self) -> None:
        """Unlock the folder. May be called again."""
        _close(self._lock_fd)
        self._lock_fd = -1

    def __enter__(self) -> Self:
        """Return the open folder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unlock the folder."""
        self.close()

    def load_head(self) -> bytes | None:
        """Return the announcement saved last, unverified; None if there is none."""
        return self._read("head") or None

    def save_head(self, announcement: bytes) -> None:
        """Remember an announcement; to be done before it is published.

        Raises
        ------
        StateError
            It could not be written, and the one before is still there.
        """
        self._replace("head", [announcement])

    def load_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; None if none was ever saved.

        Raises
        ------
        CheckpointError
            There are checkpoints, and all are damaged.
        StateError
            They cannot be read.
        """
        checkpoint, self.damage = newest_checkpoint(self.path, self.swarm_id)
        return checkpoint

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; the one before is kept until the next.

        Raises
        ------
        StateError
            It could not be written, and those before are still there.
        """
        self._replace("checkpoint", checkpoint_chunks(checkpoint), keep="checkpoint.previous")

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace status.json."""
        self._replace("status.json", [json.dumps(status).encode()], mode=0o644)

    def append_rounds(self, lines: Sequence[str]) -> None:
        """Append lines, without their line ends, to rounds.jsonl.

        What a process that was killed has left of a line stays a line of its own.
        """
        if not lines:
            return
        path = str(self.path / "rounds.jsonl")
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(path, flags, 0o644)
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    data = b"\n" + data
                while data:
                    data = data[os.write(fd, data) :]
            finally:
                os.close(fd)
        except OSError as error:
            raise StateError(explain(error, "append to", path)) from error

    def _require_swarm(self) -> None:
        text = self._read("swarm")
        if text is None:
            self._replace("swarm", [self.swarm_id.hex().encode() + b"\n"], durable=True)
            return
        there = text.decode("ascii", "replace").strip()
        if there != self.swarm_id.hex():
            raise CharterError(
                f"{self.path} belongs to a peer of swarm {there[:8]}, and this charter is swarm "
                f"{self.swarm_id.hex()[:8]}: use another folder (--home), or the charter as it was"
            )

    def _new_identity(self) -> Identity:
        identity = Identity.generate()
        text = identity.private_bytes().hex().encode() + b"\n"
        self._replace("key", [text], mode=0o600, durable=True)
        return identity

    def _read(self, name: str) -> bytes | None:
        """Read a whole small file of ours; None if there is none."""
        return _read_file(self.path / name, _MAX_SMALL_NBYTES)

    def _replace(
        self,
        name: str,
        chunks: Sequence[Buffer],
        *,
        mode: int = 0o600,
        durable: bool = False,
        keep: str | None = None,
    ) -> None:
        path = str(self.path / name)
        folder = str(self.path)
        try:
            replace_file(
                path,
                chunks,
                partial_folder=folder,
                mode=mode,
                durable=durable or keep is not None,
                keep=None if keep is None else str(self.path / keep),
            )
        except OSError as error:
            raise StateError(explain(error, "write", path)) from error


def read_identity(folder: Path) -> Identity | None:
    """Return the key in a peer's folder; None if there is none yet.

    Raises
    ------
    IdentityError
        It is broken, or readable by others.
    """
    path = folder / "key"
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IdentityError(explain(error, "read the key", str(path))) from error
    try:
        mode = os.fstat(fd).st_mode
        text = os.read(fd, 256) if stat.S_ISREG(mode) else b""
    finally:
        os.close(fd)
    if stat.S_ISREG(mode) and mode & 0o077:
        raise IdentityError(f"the key {path} can be read by others: chmod 600 {path}")
    try:
        private = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        private = b""
    if len(private) != 32:
        raise IdentityError(
            f"{path} is not a key (64 hexadecimal digits): restore it from a copy, "
            "or delete it to start as a new peer"
        )
    return Identity.from_private_bytes(private)


def newest_checkpoint(
    folder: Path, swarm_id: bytes | None = None
) -> tuple[Checkpoint | None, str | None]:
    """Return the newest checkpoint in a folder that is whole, also while its peer runs.

    Parameters
    ----------
    swarm_id
        The swarm that it must be of; None for any.

    Returns
    -------
    checkpoint, damage
        None if none was ever saved; one line about a newer one that was passed over, or None.

    Raises
    ------
    CheckpointError
        There are checkpoints, and all are damaged.
    StateError
        They cannot be read.
    """
    damage = None
    for name in ("checkpoint", "checkpoint.previous"):
        try:
            data = _read_file(folder / name, MAX_CHECKPOINT_NBYTES)
            if data is None:
                continue
            checkpoint = decode_checkpoint(data)
            if swarm_id is not None and checkpoint.swarm_id != swarm_id:
                raise CheckpointError("the checkpoint is another swarm's")
        except CheckpointError as error:
            damage = damage or f"{folder / name}: {error}"
            continue
        return checkpoint, damage
    if damage is None:
        return None, None
    raise CheckpointError(
        f"{damage}; nothing older is left: delete {folder / 'checkpoint'}* to start afresh"
    )


def _read_file(file: Path, max_nbytes: int) -> bytes | None:
    path = str(file)
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(explain(error, "read", path)) from error
    with open(fd, "rb", buffering=0) as opened:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_nbytes:
            raise StateError(f"{path} is no file of a peer: delete it")
        try:
            return opened.readall()
        except OSError as error:
            raise StateError(explain(error, "read", path)) from error


def _lock(folder: Path) -> int:
    """Lock the folder for this process, or say which one has it."""
    path = folder / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        if pid == str(os.getpid()):
            raise StateError(
                f"{folder} is in use by another peer of this process: close() it first"
            ) from error
        raise StateError(
            f"{folder} is in use by process {pid}: another peer on this machine needs a folder of "
            "its own (--home DIR; home=DIR in Python)"
        ) from error
    except OSError:
        os.close(fd)
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _close(fd: int) -> None:
    if fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)
