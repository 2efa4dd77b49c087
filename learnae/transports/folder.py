"""Looking at folders that other peers write, where anything may be found.

Only names that parse are looked at; symbolic links, pipes and devices are not followed;
sizes are checked before reading, and counts are bounded. Nothing here writes.
"""

from __future__ import annotations

import itertools
import mmap
import os
import re
import stat
import urllib.parse

from learnae.errors import NotFound, TransportError
from learnae.transports.atomic import explain
from learnae.transports.seam import MAX_MESSAGE_NBYTES

__all__ = [
    "counters",
    "is_peer_name",
    "is_remote",
    "load_object",
    "peer_folders",
    "read_message",
    "topic_name",
]

#: Below this, reading is cheaper than mapping (and costs no file descriptor).
MAP_NBYTES = 1 << 18
MAX_PEERS = 4096
MAX_FILES_PER_PEER = 64

_PEER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_COUNTER = re.compile(r"0[0-9a-f]{15}")
_TOPIC = re.compile(r"[\x20-\x7e]{1,120}")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: File systems where another machine may truncate or remove a file under its mapping.
_REMOTE = re.compile(r"(nfs|cifs|smb|9p$|ceph|lustre|gpfs|afs|glusterfs|fuse)")


def is_peer_name(name: str) -> bool:
    """Whether `name` can be a peer's folder: 1 to 100 of ``A-Z a-z 0-9 . _ -``, no leading dot."""
    return _PEER.fullmatch(name) is not None


def peer_folders(folder: str) -> list[str]:
    """List the real sub-folders that may belong to a peer, sorted; none if there is no folder."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in itertools.islice(entries, MAX_PEERS)
                if _PEER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return sorted(names)


def counters(folder: str) -> list[str]:
    """List the message files of one peer, oldest first.

    A counter is 16 hexadecimal digits of which the first is 0, so the next one always exists.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in itertools.islice(entries, MAX_FILES_PER_PEER)]
    return sorted(name for name in names if _COUNTER.fullmatch(name))


def topic_name(topic: str) -> str:
    """Write a topic as a folder name.

    Raises
    ------
    ValueError
        Not 1 to 120 printable ASCII characters, or too long once they are quoted.
    """
    if not _TOPIC.fullmatch(topic):
        raise ValueError(f"{topic[:80]!r} is not a topic: 1 to 120 printable ASCII characters")
    # quote() leaves dots alone, and "." and ".." are not names that one can create.
    name = urllib.parse.quote(topic, safe="").replace(".", "%2E")
    if len(name) > 255:
        raise ValueError(f"topic {topic[:80]!r} has too many unusual characters for a file name")
    return name


def read_message(path: str) -> bytes:
    """Read a message file, whatever it holds; one that is too large reads as empty.

    Raises
    ------
    OSError
        It is no longer there, or cannot be read this time.
    """
    fd = os.open(path, _READ)
    try:
        data = os.read(fd, MAX_MESSAGE_NBYTES + 1)
    finally:
        os.close(fd)
    return data if len(data) <= MAX_MESSAGE_NBYTES else b""


def load_object(path: str, max_nbytes: int, *, may_map: bool) -> memoryview:
    """Open an object's bytes read-only, not yet verified; they survive removal of the file.

    Raises
    ------
    NotFound
        No such file.
    TransportError
        Not a readable regular file, or larger than `max_nbytes`.
    """
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        raise NotFound(f"{path}: not there") from None
    except OSError as error:
        raise TransportError(explain(error, "read", path)) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise TransportError(f"cannot read {path}: not a regular file")
        if status.st_size > max_nbytes:
            raise TransportError(
                f"{path} holds {status.st_size} bytes, more than the {max_nbytes} accepted"
            )
        if may_map and status.st_size >= MAP_NBYTES and _is_ours(status):
            return memoryview(mmap.mmap(fd, status.st_size, access=mmap.ACCESS_READ))
        return _read(fd, status.st_size)
    except (OSError, ValueError, MemoryError) as error:
        raise TransportError(f"cannot read {path}: {error}") from error
    finally:
        os.close(fd)


def is_remote(path: str) -> bool:
    """Whether `path` is on a network file system, where unlinked files may vanish at once."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                fields = line.split()
                if len(fields) > 2 and fields[2] == wanted:
                    return _REMOTE.match(line.partition(" - ")[2]) is not None
    except OSError:
        pass  # no Linux: then no mountinfo either
    return False


def _is_ours(status: os.stat_result) -> bool:
    """Whether only this user can truncate the file.

    Reading a mapping beyond the end of a truncated file kills the process (SIGBUS). Who runs
    as the same user could kill it anyway; of anybody else's file a copy is taken.
    """
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _read(fd: int, nbytes: int) -> memoryview:
    data = bytearray(nbytes)
    with memoryview(data) as view:
        done = 0
        while done < nbytes:
            n = os.readv(fd, [view[done:]])
            if n == 0:
                raise ValueError("it was shortened while being read")
            done += n
    return memoryview(data).toreadonly()
