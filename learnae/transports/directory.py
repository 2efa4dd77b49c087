"""A folder as transport: many processes, no daemon, nothing to install.

::

    PATH/objects/<name>/<cid>                     what the peer <name> stores
    PATH/announcements/<topic>/<name>/<counter>   its newest few messages
    PATH/partial/<name>/                          its files that are still being written

A peer writes only below its own name, so peers never wait for each other, and a file exists
under its final name only when it is complete: killing a process at any instruction leaves at
most a few partial files, which the next process of the same name removes.

Nothing is synced to disk. An object is checked against its CID whenever it is read and
written anew whenever it is put, so a file torn by a power cut is noticed and replaced; a
sync would cost every peer a wait for the disk in every round, to save what the next round
replaces anyway.

Messages and objects of other peers may be anything. Objects are verified, messages are
delivered as they are: judging them is the protocol's business. Large objects are
memory-mapped where that is safe (`learnae.transports.folder`), which shares their memory
between all peers of a machine, at the price of one file descriptor each.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator

from learnae.errors import NotFound, TransportError
from learnae.transports.atomic import explain, probe, replace_file, sweep
from learnae.transports.cid import cid_from_text, cid_of, cid_text, is_cid
from learnae.transports.folder import (
    counters,
    is_peer_name,
    is_remote,
    load_object,
    peer_folders,
    read_message,
    topic_name,
)
from learnae.transports.seam import MAX_MESSAGE_NBYTES, Buffer

__all__ = ["KEEP_MESSAGES", "DirectorySubscription", "DirectoryTransport"]

#: Messages kept per peer and topic. More than the payloads a peer keeps (4 by default), so
#: that whatever an object is kept for can still be heard about by who was busy for a while.
KEEP_MESSAGES = 8


class DirectoryTransport:
    """Store and pubsub in a shared folder.

    Parameters
    ----------
    path
        The folder; it and its parents are created if missing.
    name
        This peer's folder name, see `learnae.transports.folder.is_peer_name`. Two live
        transports of one name take each other for themselves.

    Raises
    ------
    ValueError
        `name` cannot be a folder name.
    TransportError
        The folder cannot be created or written; the line names path and cure.
    """

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        if not is_peer_name(name):
            raise ValueError(f"{name[:80]!r} cannot be a peer's folder name")
        self.path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        self.name = name
        self._objects = os.path.join(self.path, "objects")
        self._announcements = os.path.join(self.path, "announcements")
        self._own_objects = os.path.join(self._objects, name)
        self._partial = os.path.join(self.path, "partial", name)
        self._counters: dict[str, int] = {}
        self._holders: list[str] = []
        self._last_put_ns = 0
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._make_folders()
            sweep(self._partial)
            probe(self._partial)
            self._may_map = not is_remote(self.path)
        except OSError as error:
            where = os.fspath(error.filename or self.path)
            raise TransportError(explain(error, "open the transport folder", where)) from error

    def addresses(self) -> tuple[str, ...]:
        """Return nothing: who shares the folder needs no address, nobody else gets a path."""
        return ()

    def put(self, data: Buffer) -> bytes:
        """Store a copy of `data`; see `learnae.transports.seam.Store.put`."""
        self._require_open()
        cid = cid_of(data)
        with self._lock:
            # Times must differ for owned() to know the order, also across clock changes.
            self._last_put_ns = max(self._last_put_ns + 1, time.time_ns())
            mtime_ns = self._last_put_ns
        self._write(os.path.join(self._own_objects, cid_text(cid)), data, 0o444, mtime_ns)
        return cid

    def get(self, cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        """Read and verify an object; see `learnae.transports.seam.Store.get`."""
        self._require_open()
        text = _text(cid)
        deadline = time.monotonic() + deadline_s
        # Its text, not the exception: a frame that holds an exception is a reference cycle, and
        # collecting one with a memoryview in it crashes CPython before 3.11.9 (gh-77894).
        problem = ""
        for holder in self._holders_in_turn():
            if time.monotonic() > deadline:
                raise TransportError(f"{text}: not fetched within {deadline_s:g} s")
            path = os.path.join(self._objects, holder, text)
            try:
                return self._verified(path, cid, max_nbytes)
            except NotFound:
                continue
            except TransportError as error:
                problem = str(error)
        if problem:
            raise TransportError(problem)
        raise NotFound(f"{text}: no peer that uses {self.path} has it")

    def drop(self, cid: bytes) -> None:
        """Remove this peer's copy; see `learnae.transports.seam.Store.drop`."""
        self._require_open()
        path = os.path.join(self._own_objects, _text(cid))
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise TransportError(explain(error, "remove", path)) from error

    def owned(self) -> list[bytes]:
        """List this peer's objects, oldest first; see `learnae.transports.seam.Transport`."""
        self._require_open()
        found: list[tuple[int, str, bytes]] = []
        try:
            with os.scandir(self._own_objects) as entries:
                for entry in entries:
                    with contextlib.suppress(ValueError, FileNotFoundError):
                        cid = cid_from_text(entry.name)
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            found.append((status.st_mtime_ns, entry.name, cid))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TransportError(explain(error, "list", self._own_objects)) from error
        return [cid for _, _, cid in sorted(found)]

    def publish(self, topic: str, data: bytes) -> None:
        """Write a message file; see `learnae.transports.seam.PubSub.publish`."""
        self._require_open()
        if len(data) > MAX_MESSAGE_NBYTES:
            raise ValueError(f"a message of {len(data)} bytes: at most {MAX_MESSAGE_NBYTES}")
        folder = os.path.join(self._announcements, topic_name(topic), self.name)
        with self._lock:
            if topic not in self._counters:
                self._counters[topic] = self._last_counter(folder)
            self._counters[topic] = counter = self._counters[topic] + 1
            self._write(os.path.join(folder, f"{counter:016x}"), data, 0o644, None)
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, f"{counter - KEEP_MESSAGES:016x}"))

    def subscribe(self, topic: str) -> DirectorySubscription:
        """Watch a topic's folder; see `learnae.transports.seam.PubSub.subscribe`."""
        self._require_open()
        return DirectorySubscription(self, topic)

    def close(self) -> None:
        """Stop; everything stored and published stays where it is."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise TransportError(f"the transport in {self.path} is closed")

    def _make_folders(self) -> None:
        os.makedirs(self._announcements, exist_ok=True)
        for folder in (self._own_objects, self._partial):
            _make_real_folder(folder)

    def _write(self, path: str, data: Buffer, mode: int, mtime_ns: int | None) -> None:
        for attempt in (1, 2):
            try:
                replace_file(
                    path, (data,), partial_folder=self._partial, mode=mode, mtime_ns=mtime_ns
                )
                return
            except OSError as error:
                if attempt == 2 or not isinstance(error, FileNotFoundError):
                    raise TransportError(explain(error, "write", path)) from error
            with contextlib.suppress(OSError):  # somebody removed the folders: once more
                self._make_folders()
                _make_real_folder(os.path.dirname(path))

    def _last_counter(self, folder: str) -> int:
        """Find where an earlier process of this name stopped, and finish its tidying up."""
        try:
            _make_real_folder(folder)
            there = counters(folder)
            for name in there[:-KEEP_MESSAGES]:
                os.unlink(os.path.join(folder, name))
        except OSError as error:
            raise TransportError(explain(error, "publish in", folder)) from error
        return int(there[-1], 16) if there else 0

    def _holders_in_turn(self) -> Iterator[str]:
        """Peers that may have an object: this one, those known, then whoever is new."""
        known = [self.name, *(name for name in self._holders if name != self.name)]
        yield from known
        self._holders = peer_folders(self._objects)
        yield from (name for name in self._holders if name not in known)

    def _verified(self, path: str, cid: bytes, max_nbytes: int) -> memoryview:
        view = load_object(path, max_nbytes, may_map=self._may_map)
        if cid_of(view) == cid:
            return view
        if os.path.dirname(path) == self._own_objects:
            # Ours to repair: gone, it can be put again. Others' folders are theirs.
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise TransportError(f"{path} does not hold the bytes that its name promises")


class DirectorySubscription:
    """Messages of one topic, found by listing folders.

    A call of `take` costs one ``scandir`` per peer, about 10 microseconds each. Skipping the
    folders whose modification time is unchanged would save little and lose messages: the
    time of many file systems moves in steps of 4 ms, and two messages may share one step.
    """

    def __init__(self, transport: DirectoryTransport, topic: str) -> None:
        self._transport = transport
        self._folder = os.path.join(transport.path, "announcements", topic_name(topic))
        self._seen: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> list[bytes]:
        """Return new messages, each peer's in order; see `learnae.transports.seam`."""
        if self._closed:
            return []
        self._transport._require_open()
        with self._lock:
            seen: dict[str, frozenset[str]] = {}
            messages: list[bytes] = []
            for name in peer_folders(self._folder):
                if name != self._transport.name:
                    known = self._seen.get(name, frozenset())
                    seen[name] = self._take_from(name, known, messages)
            self._seen = seen
            return messages

    def close(self) -> None:
        """Stop listening."""
        self._closed = True

    def _take_from(self, name: str, known: frozenset[str], messages: list[bytes]) -> frozenset[str]:
        """Append what is new in one peer's folder; return the names that need no second look."""
        folder = os.path.join(self._folder, name)
        try:
            there = counters(folder)
        except OSError:
            return known
        seen = known.intersection(there)
        for counter in there:
            if counter not in known:
                # A file that cannot be read now stays unseen, so that nothing is lost.
                with contextlib.suppress(OSError):
                    messages.append(read_message(os.path.join(folder, counter)))
                    seen |= {counter}
        return seen


def _make_real_folder(folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    # A link planted here would make us write and delete somewhere else.
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise NotADirectoryError(20, "it is a symbolic link", folder)


def _text(cid: bytes) -> str:
    if not is_cid(cid):
        raise ValueError(f"{cid[:40].hex()} is not a CID: see learnae.transports.cid")
    return cid_text(cid)
