"""Large models put aside: in the page cache, where the system can take the memory back."""

from __future__ import annotations

import logging
import mmap
import os
import tempfile

from learnae.transports.seam import Buffer

__all__ = ["shelve"]

log = logging.getLogger("learnae.node")

# Below this, a mapping costs more than it saves: a file descriptor's life and whole pages.
MAP_NBYTES = 1 << 20


def shelve(data: bytearray, folder: str | os.PathLike[str] | None) -> Buffer:
    """Move bytes to a nameless file in `folder` and map it; small ones stay as they are.

    The file is gone with its last mapping, however this process ends. Where the disk is full, or
    there is no folder, the bytes stay in memory.
    """
    if folder is None or len(data) < MAP_NBYTES:
        return data
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(data)
            file.flush()
            mapping = mmap.mmap(file.fileno(), len(data), access=mmap.ACCESS_READ)
    except OSError as error:
        log.warning("a model of %d bytes stays in memory: %s", len(data), error)
        return data
    return memoryview(mapping)
