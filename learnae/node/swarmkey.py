"""The swarm's secret on disk: 64 hexadecimal digits in ``swarm.key``, beside ``swarm.toml``."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from learnae.errors import IdentityError
from learnae.transports.atomic import explain
from learnae.transports.keys import SWARM_KEY_NBYTES

__all__ = ["create_swarm_key", "find_swarm_key", "key_path", "read_swarm_key", "write_swarm_key"]

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def key_path(charter: str | os.PathLike[str]) -> Path:
    """Return where the key of the swarm of a charter file is: ``swarm.toml``, ``swarm.key``."""
    return Path(charter).with_suffix(".key")


def find_swarm_key(charter: str | os.PathLike[str]) -> bytes | None:
    """Read the key beside a charter file; None if there is none.

    Raises
    ------
    IdentityError
        There is one, and it is broken or readable by others.
    """
    path = key_path(charter)
    return read_swarm_key(path) if os.path.lexists(path) else None


def read_swarm_key(path: str | os.PathLike[str]) -> bytes:
    """Read a swarm key file: 32 bytes.

    Raises
    ------
    IdentityError
        It is missing, broken, or readable by others; one line with the cure.
    """
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError as error:
        raise IdentityError(
            f"{os.fspath(path)}: no such file; ask a member for an invite (learnae invite), "
            "or for the file itself"
        ) from error
    except OSError as error:
        raise IdentityError(explain(error, "read the swarm key", os.fspath(path))) from error
    try:
        mode = os.fstat(fd).st_mode
        text = os.read(fd, 256) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise IdentityError(explain(error, "read the swarm key", os.fspath(path))) from error
    finally:
        os.close(fd)
    if stat.S_ISREG(mode) and mode & 0o077:
        where = os.fspath(path)
        raise IdentityError(f"the swarm key {where} can be read by others: chmod 600 {where}")
    if text.startswith(b"/key/swarm/"):
        raise IdentityError(
            f"{os.fspath(path)} is the key of a Kubo network, not of a learnae swarm: "
            "give the swarm.key that learnae create has written"
        )
    return _parsed(text, path)


def _parsed(text: bytes, path: str | os.PathLike[str]) -> bytes:
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != SWARM_KEY_NBYTES:
        raise IdentityError(
            f"{os.fspath(path)} is not a swarm key (64 hexadecimal digits): "
            "get it again from a member (learnae invite)"
        )
    return key


def create_swarm_key(path: str | os.PathLike[str]) -> bytes:
    """Make a new swarm key and write it to a file that does not exist yet, mode 0600.

    Raises
    ------
    IdentityError
        The file exists, or cannot be written.
    """
    key = secrets.token_bytes(SWARM_KEY_NBYTES)
    write_swarm_key(path, key)
    return key


def write_swarm_key(path: str | os.PathLike[str], key: bytes) -> None:
    """Write a swarm key to a file that does not exist yet, mode 0600.

    Raises
    ------
    IdentityError
        The file exists, or cannot be written.
    """
    where = os.fspath(path)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise IdentityError(
            f"{where} exists and is left as it is: it may be the only copy of a swarm's key"
        ) from error
    except OSError as error:
        raise IdentityError(explain(error, "write the swarm key", where)) from error
    try:
        with open(fd, "wb") as file:
            file.write(key.hex().encode() + b"\n")
            file.flush()
            os.fsync(fd)
    except OSError as error:
        os.unlink(path)
        raise IdentityError(explain(error, "write the swarm key", where)) from error
