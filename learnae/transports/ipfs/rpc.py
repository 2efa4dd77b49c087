"""The daemon's HTTP interface, as far as a streaming, bounded, interruptible transport needs it.

Every command of Kubo is ``POST /api/v0/COMMAND?arg=...&option=...``; answers are JSON objects,
one a line, or bytes. A daemon is named by the multiaddr of its interface or by its repo, whose
file ``api`` holds that multiaddr while the daemon runs (and another one after a restart).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import re
import secrets
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from learnae.errors import TransportError, Unavailable, UsageError
from learnae.transports.seam import Buffer

__all__ = ["Answer", "Refused", "Rpc", "TooSlow", "Unreachable", "api_of_repo"]

#: A command's JSON answer may not be longer than this.
MAX_ANSWER_NBYTES = 16 << 20
_MULTIADDR = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d{1,5})(/http)?/?")
_SEND_NBYTES = 1 << 20
_SMALL_NBYTES = 1 << 14


class Unreachable(Unavailable):
    """No daemon answers."""


class TooSlow(Unavailable):
    """The daemon has not answered in time."""


class Refused(TransportError):
    """The daemon answered with an error; the message is its own."""


def api_of_repo(repo: str) -> str:
    """Return the interface's multiaddr of the daemon that runs on the folder `repo`.

    Raises
    ------
    Unreachable
        None runs there.
    """
    api = ""
    with (
        contextlib.suppress(OSError, ValueError),
        open(os.path.join(repo, "api"), encoding="ascii") as file,
    ):
        api = file.read(200).strip()
    if not _is_interface(api):  # none, or cut short by a crash: not the user's mistake
        raise Unreachable(f"no IPFS daemon runs on {repo}: start it with `learnae ipfs up`")
    return api


class Rpc:
    """Commands of one daemon.

    Parameters
    ----------
    api
        A multiaddr such as ``/ip4/127.0.0.1/tcp/5001``, or the folder of a repo.

    Raises
    ------
    UsageError
        `api` looks like a multiaddr and is none.
    """

    def __init__(self, api: str) -> None:
        self._repo: str | None = None
        if _is_multiaddr(api):
            self._api = api
            _host_and_port(api)
        else:
            self._repo = self._api = os.path.abspath(os.path.expanduser(api))
        self._open: set[Answer] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def repo(self) -> str | None:
        """The repo's folder, if the daemon was named by it."""
        return self._repo

    @property
    def where(self) -> str:
        """How the user named the daemon."""
        return self._api

    def api(self) -> str:
        """Return the multiaddr at which the daemon answers now.

        Raises
        ------
        Unreachable
            No daemon runs on the repo.
        """
        return self._api if self._repo is None else api_of_repo(self._repo)

    def call(
        self,
        command: str,
        *args: str,
        deadline_s: float = 10.0,
        body: Buffer | None = None,
        options: dict[str, str] | None = None,
        watch: Callable[[memoryview], object] | None = None,
    ) -> list[Any]:
        """Run a command and return the JSON objects it answers with.

        Parameters
        ----------
        command, args, options
            As in the documentation of Kubo's RPC.
        deadline_s
            Seconds that it may take.
        body
            The file to send.
        watch
            Called with each piece of `body`, 1 MiB each but the last, when it has been sent.

        Raises
        ------
        TransportError
            One of the kinds above.
        """
        with self.ask(
            command, *args, deadline_s=deadline_s, body=body, options=options, watch=watch
        ) as answer:
            text = answer.read_all(MAX_ANSWER_NBYTES)
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise TransportError(f"{command}: what answers at {self._api} is no IPFS daemon") from (
                None
            )

    @contextlib.contextmanager
    def ask(
        self,
        command: str,
        *args: str,
        deadline_s: float,
        body: Buffer | None = None,
        options: dict[str, str] | None = None,
        watch: Callable[[memoryview], object] | None = None,
        silence_s: float = math.inf,
        plain: bool = False,
    ) -> Iterator[Answer]:
        """Run a command and give its answer as a stream, which ends with the block.

        If nothing comes for `silence_s` seconds, the answer is given up before its deadline. A
        `plain` answer comes without the frames of HTTP/1.1, for `Answer.read_into`.
        """
        host, port = _host_and_port(self.api())
        answer = Answer(host, port, f"{self._api}: {command}", deadline_s, silence_s, plain=plain)
        with self._lock:
            if self._closed:
                raise TransportError(f"the transport to {self._api} is closed")
            self._open.add(answer)
        query = [("arg", arg) for arg in args] + list((options or {}).items())
        try:
            answer.begin(f"/api/v0/{command}?{urllib.parse.urlencode(query)}", body, watch)
            yield answer
        finally:
            with self._lock:
                self._open.discard(answer)
            answer.close()

    def close(self) -> None:
        """End every command under way; they raise `TransportError` where they are."""
        with self._lock:
            self._closed = True
            answers = list(self._open)
        for answer in answers:
            answer.interrupt()


class _PlainConnection(http.client.HTTPConnection):
    """Asks for an answer that is not cut into chunks, at a third of the cost of reading it."""

    _http_vsn = 10
    _http_vsn_str = "HTTP/1.0"


class Answer:
    """The answer to one command, read piece by piece until a deadline."""

    def __init__(
        self,
        host: str,
        port: int,
        what: str,
        deadline_s: float,
        silence_s: float = math.inf,
        *,
        plain: bool = False,
    ) -> None:
        kind = _PlainConnection if plain else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=deadline_s)
        self._what, self._deadline_s, self._silence_s = what, deadline_s, silence_s
        self._deadline = time.monotonic() + deadline_s
        self._socket: socket.socket | None = None
        self._interrupted = False
        self._response: http.client.HTTPResponse | None = None

    def begin(
        self,
        target: str,
        body: Buffer | None,
        watch: Callable[[memoryview], object] | None = None,
    ) -> None:
        """Send the request and wait for the first line of the answer."""
        with self._translated():
            self._connection.timeout = self._left()
            self._connection.connect()
            self._socket = self._connection.sock
            if self._interrupted:  # while there was no socket yet to shut down
                raise ConnectionAbortedError("interrupted")
            headers, parts = _multipart(body, watch)
            self._connection.request("POST", target, body=parts, headers=headers)
            self._rearm()
            self._response = self._connection.getresponse()
            if self._response.status != 200:
                raise Refused(_reason(self._response.read(2000)))

    @property
    def length(self) -> int | None:
        """Bytes of the object that is being read, as the daemon says."""
        assert self._response is not None
        text = self._response.headers.get("X-Content-Length", "")
        return int(text) if text.isdecimal() and len(text) < 19 else None

    def read(self, nbytes: int) -> bytes:
        """Read some bytes, at most `nbytes`; none at the end."""
        with self._translated():
            assert self._response is not None
            self._rearm()
            return self._response.read1(nbytes)

    def read_into(self, view: memoryview) -> int:
        """Fill the beginning of `view` from a plain answer; return how much, 0 at the end."""
        with self._translated():
            assert self._response is not None
            if self._response.fp is None:
                return 0
            self._rearm()
            return int(self._response.fp.readinto1(view))  # one recv, straight into the view

    def read_all(self, max_nbytes: int) -> bytes:
        """Read to the end, if that comes within `max_nbytes`."""
        parts, total = [], 0
        while part := self.read(1 << 16):
            total += len(part)
            if total > max_nbytes:
                raise TransportError(f"{self._what}: the answer is longer than {max_nbytes} bytes")
            parts.append(part)
        return b"".join(parts)

    def extend(self, deadline_s: float) -> None:
        """Begin a new deadline, for answers that are not meant to end."""
        self._deadline_s, self._deadline = deadline_s, time.monotonic() + deadline_s

    def interrupt(self) -> None:
        """Make whoever reads stop, from another thread."""
        self._interrupted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection up; the daemon then ends the command."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._silence_s)

    def _rearm(self) -> None:
        assert self._socket is not None
        self._socket.settimeout(self._left())

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            limit_s = min(self._deadline_s, self._silence_s)
            raise TooSlow(f"{self._what}: no answer within {limit_s:g} s") from None
        except ConnectionRefusedError:
            raise Unreachable(
                f"{self._what}: no IPFS daemon answers; start it with `learnae ipfs up`"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"{self._what}: the connection broke ({reason})") from error


def _reason(body: bytes) -> str:
    """Return the daemon's words for what went wrong, on one line."""
    try:
        message = json.loads(body)["Message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace")
    return " ".join(str(message).split())[:300]


def _multipart(
    body: Buffer | None, watch: Callable[[memoryview], object] | None
) -> tuple[dict[str, str], Iterable[bytes] | None]:
    """Return headers and pieces of a form with one file."""
    if body is None:
        return {"Content-Length": "0"}, None
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    view = memoryview(body).cast("B") if len(body) else memoryview(b"")
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + view.nbytes + len(tail)),
    }
    return headers, _pieces(head, view, tail, watch)


def _pieces(
    head: bytes, view: memoryview, tail: bytes, watch: Callable[[memoryview], object] | None
) -> Iterator[bytes]:
    if view.nbytes <= _SMALL_NBYTES:
        yield head + bytes(view) + tail  # one packet
        if watch is not None:
            watch(view)
        return
    yield head
    for start in range(0, view.nbytes, _SEND_NBYTES):
        piece = view[start : start + _SEND_NBYTES]
        yield piece  # type: ignore[misc]  # any buffer will do
        if watch is not None:
            watch(piece)
    yield tail


def _is_multiaddr(api: str) -> bool:
    return re.match(r"/(ip4|ip6|dns|dns4|dns6)/", api) is not None


def _is_interface(api: str) -> bool:
    match = _MULTIADDR.fullmatch(api)
    return match is not None and int(match[3]) <= 65535


def _host_and_port(api: str) -> tuple[str, int]:
    match = _MULTIADDR.fullmatch(api)
    if match is None or not _is_interface(api):
        raise UsageError(
            f"{api[:100]!r} is not the address of an IPFS daemon: write one like "
            "/ip4/127.0.0.1/tcp/5001"
        )
    return match[2], int(match[3])
