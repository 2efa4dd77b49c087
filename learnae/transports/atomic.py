"""Files that appear whole or not at all, and failures of the file system in plain words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Sequence

from learnae.transports.seam import Buffer

__all__ = ["explain", "probe", "replace_file", "sweep"]

_PREFIX = ".partial-"
_process = os.urandom(4).hex()
_serial = itertools.count()

_CURES = {
    errno.ENOSPC: "free some space on this disk, or use another folder",
    errno.EDQUOT: "free some of your disk quota, or use another folder",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or use another file system",
    errno.EROFS: "the file system is mounted read-only: use another folder",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "use a folder with a shorter path",
    errno.ENOTDIR: "remove the file that is in the way, or use another folder",
    errno.EEXIST: "remove the file that is in the way, or use another folder",
    errno.EISDIR: "remove the folder that is in the way, or use another folder",
    errno.ELOOP: "replace the symbolic link by a real folder or file",
}
_PERMISSION = "give this user access to it (chmod u+rwX), or use another folder"


def explain(error: OSError, doing: str, path: str) -> str:
    """Write one line about a failed system call: what, where, why, and the cure if known."""
    if error.errno in (errno.EACCES, errno.EPERM):
        cure: str | None = _PERMISSION
    else:
        cure = _CURES.get(error.errno or 0)
    why = (error.strerror or str(error)).lower()
    return f"cannot {doing} {path}: {why}" + (f"; {cure}" if cure else "")


def replace_file(
    path: str,
    chunks: Sequence[Buffer],
    *,
    partial_folder: str,
    mode: int = 0o644,
    durable: bool = False,
    mtime_ns: int | None = None,
    keep: str | None = None,
) -> None:
    """Write `path` so that whoever opens it finds either the old content or all of the new.

    The bytes go to a new file in `partial_folder`, which must be on the same file system, and
    are then renamed. A process that is killed in between leaves a partial file behind, which
    `sweep` removes; any other failure removes it at once. The partial file is locked while it
    is being written: a lock dies with its process, whereas a pid may be reused, and always is
    in a container whose only process has pid 1.

    Parameters
    ----------
    durable
        Also survive a power cut: ``fsync`` of the file and of its folder.
    mtime_ns
        Modification time to set, in nanoseconds since 1970; the file system's own clock may
        be as coarse as 4 ms.
    keep
        Where the old content goes instead of vanishing. For a moment `path` is then missing.

    Raises
    ------
    OSError
        As the system call that failed.
    """
    for attempt in (1, 2):
        partial = _partial_path(partial_folder)
        try:
            _write(partial, (path, keep), chunks, (mode, durable, mtime_ns))
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            # Once may be a sweep that came between our creating the file and locking it.
            if attempt == 2 or not isinstance(error, FileNotFoundError):
                raise
        else:
            break
    if durable:
        _sync_folder(os.path.dirname(path))


def probe(folder: str) -> None:
    """Create and remove a file in `folder`: the only way of asking that always tells the truth.

    Raises
    ------
    OSError
        Why no file can be written there.
    """
    path = _partial_path(folder)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    os.unlink(path)


def sweep(folder: str) -> None:
    """Remove the partial files of processes that are dead."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(fd)


def _partial_path(folder: str) -> str:
    return os.path.join(folder, f"{_PREFIX}{os.getpid()}-{_process}-{next(_serial)}")


def _write(
    partial: str,
    paths: tuple[str, str | None],
    chunks: Sequence[Buffer],
    options: tuple[int, bool, int | None],
) -> None:
    (path, keep), (mode, durable, mtime_ns) = paths, options
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(partial, flags, mode)
    try:
        # Refused only by a sweep that is about to unlink the file: the rename will tell.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for chunk in chunks:
            with memoryview(chunk) as whole, whole.cast("B") as view:
                done = 0
                while done < view.nbytes:
                    done += os.write(fd, view[done:])
        if mtime_ns is not None:
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        if durable:
            os.fsync(fd)
        if keep is not None:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, keep)
        os.replace(partial, path)
    finally:
        os.close(fd)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
