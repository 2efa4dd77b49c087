"""Pubsub over Kubo: one listening thread per topic, and signs that make up for lost messages.

The thread keeps ``pubsub/sub`` open, and opens it again when the daemon went away. What it hears
is kept per sender, the newest few, so that memory is bounded however much arrives. Senders are
told apart by the daemon that signed a message, which nobody can forge, and by the transport's tag.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from learnae.errors import TransportError
from learnae.transports.folder import topic_name
from learnae.transports.ipfs.barring import Bars
from learnae.transports.ipfs.frames import (
    MAX_FRAME_NBYTES,
    Frame,
    Sign,
    decode_frame,
    encode_frame,
)
from learnae.transports.ipfs.quota import Quota
from learnae.transports.ipfs.rpc import Answer, Refused, Rpc
from learnae.transports.seam import MAX_MESSAGE_NBYTES

__all__ = ["KEEP_MESSAGES", "SAY_BURST", "SAY_PER_S", "Channel", "IpfsSubscription"]

log = logging.getLogger("learnae.transports.ipfs")

#: Messages of each sender kept for who comes late, as in the directory transport.
KEEP_MESSAGES = 8
_PENDING = 64  # of each sender, until they are taken
_SENDERS = 1024
_TAGS = 16  # transports that share a daemon
# A member can be a thousand senders, each with sixteen tags. So there are no more streams than
# senders, and where many have messages waiting, fewer of each: 4,096 (1 + ln 1,024 / 64) at most.
_WAITING = 4096

# When to ask after listening has begun: until one's own question comes back, it was too early.
_ASK_AT_S = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
# When to repeat the counter after the last message; then every _SILENCE_S.
_BEACON_AT_S = (0.5, 2.0, 8.0)
_SILENCE_S = 30.0
_WATCH_S = 2.5 * _SILENCE_S  # own beacons come back: longer silence is a dead connection
_PACE_S = 0.5  # between two replays, and between two questions
_PATIENCE = 3  # questions about one sender without an answer
_READY_S = 1.0
_RETRY_S = (0.1, 2.0)
_PUBLISH_S = 10.0
#: What a transport says in a second, and at once. With rounds of milliseconds a peer would have
#: more to say than anybody could use, and be taken for one that floods. What others can make it
#: say (replays, questions, counters) waits until half of the burst is left for its own messages.
SAY_PER_S, SAY_BURST = 15.0, 50.0
_SIGNS_AT_ONCE = KEEP_MESSAGES + 2
_OVERTAKEN = 10  # how often a message is sent again that another one has overtaken
_MAX_LINE_NBYTES = 4 * MAX_FRAME_NBYTES
_MAX_HEAP_NBYTES = 8 << 20  # a message of libp2p has at most 1 MiB


@dataclass(slots=True)
class _Stream:
    """What was heard of one sender."""

    seen: int = -1
    asked: int = 0
    newest: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEEP_MESSAGES))


class Channel:
    """One topic on one daemon.

    Parameters
    ----------
    rpc
        The daemon.
    topic
        1 to 120 printable ASCII characters.
    tag
        This transport's own.
    wake
        Called when `tick` has become due earlier than it said.
    bars
        The daemons that are not heard.
    """

    def __init__(
        self,
        rpc: Rpc,
        topic: str,
        tag: bytes,
        wake: Callable[[], None],
        bars: Bars | None = None,
    ) -> None:
        topic_name(topic)  # one law for topics on all transports
        self._rpc, self._topic, self._tag, self._wake = rpc, _multibase(topic.encode()), tag, wake
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._closing = threading.Event()
        self._ready = threading.Event()  # our own question has come back
        self._streams: OrderedDict[str, OrderedDict[bytes, _Stream]] = OrderedDict()
        self._n_streams = 0
        self._subscriptions: list[IpfsSubscription] = []
        self._quota = Quota(bars)
        self._own: deque[Frame] = deque(maxlen=KEEP_MESSAGES)
        self._counter = time.time_ns()
        self._spent, self._spent_at = 0.0, time.monotonic()
        self._began = self._said = time.monotonic()
        self._n_asked = self._n_beacons = 0
        self._ask_due = self._replay_due = math.inf
        self._last_ask = self._last_replay = -math.inf
        self._thread = threading.Thread(target=self._listen, name="learnae-pubsub", daemon=True)
        self._thread.start()

    # -- for the transport ---------------------------------------------------------------

    def publish(self, data: bytes) -> None:
        """Send a message; see `learnae.transports.seam.PubSub.publish`."""
        if len(data) > MAX_MESSAGE_NBYTES:
            raise ValueError(f"a message of {len(data)} bytes: at most {MAX_MESSAGE_NBYTES}")
        with self._sending:
            self._closing.wait(self._spend(time.monotonic(), 0.0))
            self._counter = max(self._counter + 1, time.time_ns())
            frame = Frame(Sign.MESSAGE, self._tag, self._counter, bytes(data))
            self._send(frame)
            with self._lock:
                self._own.append(frame)
                self._said, self._n_beacons = time.monotonic(), 0
        self._wake()

    def _spend(self, now: float, n_messages: float) -> float:
        """Note what is sent, and return how long to wait before the next message."""
        with self._lock:
            spent = max(0.0, self._spent - SAY_PER_S * (now - self._spent_at)) + n_messages
            self._spent, self._spent_at = spent, now
        return max(0.0, (spent + 1.0 - SAY_BURST) / SAY_PER_S)

    def _signs_at(self, now: float) -> float:
        """Return when a turn's signs can be sent, all of them."""
        spent = max(0.0, self._spent - SAY_PER_S * (now - self._spent_at))
        return now + max(0.0, (spent + _SIGNS_AT_ONCE - SAY_BURST / 2) / SAY_PER_S)

    def subscribe(self) -> IpfsSubscription:
        """Begin with the newest messages of everybody heard; ask for those before that."""
        subscription = IpfsSubscription(self)
        with self._lock:
            for sender, tags in self._streams.items():
                for stream in tags.values():
                    for data in stream.newest:
                        subscription._add(sender, data)
            self._subscriptions.append(subscription)
        # Without this, messages sent right after the call would come only with the next beacon.
        self._ready.wait(_READY_S)
        return subscription

    def forget(self, subscription: IpfsSubscription) -> None:
        """Deliver nothing more to `subscription`."""
        with self._lock, contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    @property
    def closed(self) -> bool:
        """Whether the transport was closed."""
        return self._closing.is_set()

    def close(self) -> None:
        """Stop listening. The connection itself is ended by the transport."""
        self._closing.set()
        self._ready.set()

    def join(self) -> None:
        """Wait until the thread has ended, after `close`."""
        if self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def require_open(self) -> None:
        """Raise if the transport was closed."""
        if self._closing.is_set():
            raise TransportError(f"the transport to {self._rpc.where} is closed")

    def tick(self, now: float) -> float:
        """Send the signs that are due, and return when the next one is."""
        for sign in self._signs_due(now):
            with contextlib.suppress(TransportError):
                if sign is Sign.MESSAGE:
                    self._replay()
                else:
                    self._send(Frame(sign, self._tag, self._counter))
        with self._lock:
            due = min(self._first_ask_at(), self._beacon_at(), self._ask_due, self._replay_due)
            return max(due, self._signs_at(now))

    # -- signs ---------------------------------------------------------------------------

    def _signs_due(self, now: float) -> list[Sign]:
        signs: list[Sign] = []
        with self._lock:
            if self._signs_at(now) > now:
                return signs
            if now >= self._first_ask_at():
                self._n_asked += 1
                signs.append(Sign.ASK)
            elif now >= self._ask_due:
                signs.append(Sign.ASK)
            if Sign.ASK in signs:
                self._ask_due, self._last_ask = math.inf, now
            if now >= self._replay_due:
                self._replay_due, self._last_replay = math.inf, now
                signs.append(Sign.MESSAGE)
            if now >= self._beacon_at():
                self._said = now if self._n_beacons >= len(_BEACON_AT_S) else self._said
                self._n_beacons += 1
                signs.append(Sign.BEACON)
        return signs

    def _first_ask_at(self) -> float:
        if self._ready.is_set() or self._n_asked >= len(_ASK_AT_S):
            return math.inf
        return self._began + _ASK_AT_S[self._n_asked]

    def _beacon_at(self) -> float:
        index = self._n_beacons
        return self._said + (_BEACON_AT_S[index] if index < len(_BEACON_AT_S) else _SILENCE_S)

    def _replay(self) -> None:
        with self._lock:
            frames = list(self._own)
        for frame in frames:
            self._send(frame)

    def _send(self, frame: Frame) -> None:
        body = encode_frame(frame)
        self._spend(time.monotonic(), 1.0)
        for attempt in range(_OVERTAKEN):
            try:
                self._rpc.call("pubsub/pub", self._topic, deadline_s=_PUBLISH_S, body=body)
                return
            except Refused as error:
                # The daemon numbers its messages, of all topics and transports, and refuses one
                # that a later one has overtaken inside it: sent again, it gets a new number.
                if "validation ignored" not in str(error) or attempt == _OVERTAKEN - 1:
                    raise

    # -- listening -----------------------------------------------------------------------

    def _listen(self) -> None:
        retry_s = _RETRY_S[0]
        while not self._closing.is_set():
            self._begin_listening()
            try:
                with self._rpc.ask("pubsub/sub", self._topic, deadline_s=_WATCH_S) as answer:
                    retry_s = _RETRY_S[0]
                    for line in _lines(answer):
                        self._hear(line, time.monotonic())
            except TransportError as error:
                log.debug("pubsub: %s", error)
            if not self._closing.wait(retry_s):
                retry_s = min(2 * retry_s, _RETRY_S[1])

    def _begin_listening(self) -> None:
        with self._lock:
            if not self._closing.is_set():
                self._ready.clear()
            self._began, self._n_asked = time.monotonic(), 0
        self._wake()

    def _hear(self, line: bytes, now: float) -> None:
        """Take in one line of ``pubsub/sub``, whatever it holds."""
        if not self._quota.admits(line, now):
            return
        try:
            message = json.loads(line)
            sender, data = message["from"], _from_multibase(message["data"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        frame = decode_frame(data)
        if frame is None or not isinstance(sender, str):
            return
        if frame.tag == self._tag:
            self._ready.set()
            return
        with self._lock:
            if frame.sign is Sign.ASK:
                if self._own:
                    self._replay_due = max(now, self._last_replay + _PACE_S)
            else:
                self._note(sender, frame, now)
            due = min(self._replay_due, self._ask_due)
        if due < math.inf:
            self._wake()

    def _note(self, sender: str, frame: Frame, now: float) -> None:
        stream = self._stream(sender, frame.tag)
        if frame.counter <= stream.seen:
            return
        if frame.sign is Sign.BEACON:
            if stream.asked < _PATIENCE:
                stream.asked += 1
                self._ask_due = max(now, self._last_ask + _PACE_S)
            return
        stream.seen, stream.asked = frame.counter, 0
        stream.newest.append(frame.data)
        for subscription in self._subscriptions:
            subscription._add(sender, frame.data)

    def _stream(self, sender: str, tag: bytes) -> _Stream:
        tags = self._streams.setdefault(sender, OrderedDict())
        self._streams.move_to_end(sender)
        self._n_streams += tag not in tags
        stream = tags.setdefault(tag, _Stream())
        tags.move_to_end(tag)
        if len(tags) > _TAGS:
            tags.popitem(last=False)
            self._n_streams -= 1
        while self._n_streams > _SENDERS:
            self._n_streams -= len(self._streams.popitem(last=False)[1])
        return stream


class IpfsSubscription:
    """Messages of one topic that have arrived and were not taken yet."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._pending: OrderedDict[str, deque[bytes]] = OrderedDict()
        self._closed = False

    def take(self) -> list[bytes]:
        """Return new messages, each sender's in order; see `learnae.transports.seam`."""
        if self._closed:
            return []
        self._channel.require_open()
        with self._lock:
            pending, self._pending = self._pending, OrderedDict()
        return [data for messages in pending.values() for data in messages]

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self._channel.forget(self)

    def _add(self, sender: str, data: bytes) -> None:
        with self._lock:
            messages = self._pending.setdefault(sender, deque())
            messages.append(data)
            if len(self._pending) > _SENDERS:
                self._pending.popitem(last=False)
            while len(messages) > min(_PENDING, _WAITING // len(self._pending)):
                messages.popleft()


def _lines(answer: Answer) -> Iterator[bytes]:
    """Yield an endless answer's lines, leaving out those too long to matter."""
    heap = bytearray()
    while part := answer.read(1 << 16):
        answer.extend(_WATCH_S)
        heap += part
        if b"\n" not in part:
            if len(heap) > _MAX_HEAP_NBYTES:
                raise TransportError("pubsub: a line without an end")
            continue
        *whole, rest = bytes(heap).split(b"\n")
        heap = bytearray(rest)
        yield from (line for line in whole if 0 < len(line) <= _MAX_LINE_NBYTES)


def _multibase(data: bytes) -> str:
    """Write bytes as Kubo wants them: base64url without padding, told by a leading ``u``."""
    return "u" + base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _from_multibase(text: str) -> bytes:
    if text[:1] != "u":
        raise ValueError("not base64url")
    try:
        return base64.urlsafe_b64decode(text[1:] + "=" * (-(len(text) - 1) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
