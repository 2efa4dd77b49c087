"""A bad network in one process: Ethernet frames between TAP devices, slowed, delayed and lost.

Run by `netns.Network` as a process of its own. The kernel's netem would do as well, but many
small kernels come without it, and here every frame can be looked at: what a host tries to send,
and to whom. Each host is one line of JSON on the command line, orders arrive as lines of JSON on
standard input, and its end is the end of the wire.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Link", "Wire"]

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
MAX_FRAME_NBYTES = 65_536
# A router's buffer: what would have to wait longer is dropped. netem's default of 1,000 packets
# is 0.6 s at 20 Mbit/s.
MAX_QUEUE_S = 0.6
# Frames taken from one device before the others have their turn.
BURST = 64


@dataclass(frozen=True)
class Link:
    """A host's link, in each direction.

    `delay_s` and `loss` act where a frame leaves its host, as netem on that host's device would:
    the round trip between two hosts is twice the delay.
    """

    rate_bps: float = 1e9
    delay_s: float = 0.0
    loss: float = 0.0


@dataclass
class Port:
    """One host's end of the wire."""

    fd: int
    mac: bytes
    link: Link
    is_up: bool = True
    sending_until: float = 0.0
    receiving_until: float = 0.0
    dropped: int = 0


class Wire:
    """A switch with bad cables; `clock` counts seconds and `rng` decides which frames are lost."""

    def __init__(self, ports: dict[str, Port], rng: random.Random) -> None:
        self.ports = ports
        self.flows: Counter[str] = Counter()
        self._rng = rng
        self._by_mac = {port.mac: port for port in ports.values()}
        self._waiting: list[tuple[float, int, Port, bytes]] = []
        self._count = 0

    def accept(self, port: Port, frame: bytes, now: float) -> None:
        """Take a frame that a host sends; it arrives later, or never."""
        self.flows[describe(frame)] += 1
        link = port.link
        if not port.is_up or max(now, port.sending_until) - now > MAX_QUEUE_S:
            port.dropped += 1
            return
        port.sending_until = max(now, port.sending_until) + 8 * len(frame) / link.rate_bps
        if self._rng.random() < link.loss:
            port.dropped += 1
            return
        arrival = port.sending_until + link.delay_s
        for target in self._targets(port, frame):
            if max(arrival, target.receiving_until) - arrival > MAX_QUEUE_S:
                target.dropped += 1
                continue
            took = 8 * len(frame) / target.link.rate_bps
            target.receiving_until = max(arrival, target.receiving_until) + took
            self._count += 1
            entry = (target.receiving_until, self._count, target, frame)
            heapq.heappush(self._waiting, entry)

    def _targets(self, port: Port, frame: bytes) -> Iterator[Port]:
        if frame[0] & 1:  # broadcast
            yield from (other for other in self.ports.values() if other is not port)
        elif (target := self._by_mac.get(frame[:6])) is not None:
            yield target

    def deliver(self, now: float) -> float | None:
        """Hand over what is due; return how many seconds the next frame has, or None."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._waiting)
            if not target.is_up:
                target.dropped += 1
                continue
            try:
                os.write(target.fd, frame)
            except OSError:
                target.dropped += 1  # its device is down or full
        return max(0.0, self._waiting[0][0] - now) if self._waiting else None

    def obey(self, order: dict[str, object]) -> object:
        """Carry out one order and return the answer."""
        match order:
            case {"host": str(host), "up": bool(is_up)}:
                self.ports[host].is_up = is_up
            case {"flows": True}:
                return dict(self.flows)
            case {"dropped": True}:
                return {name: port.dropped for name, port in self.ports.items()}
            case _:
                raise ValueError(f"not an order: {order}")
        return None


def describe(frame: bytes) -> str:
    """Return the packet's protocol and where it goes, such as ``tcp 10.77.0.2:4001``."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == 0x0806 and len(frame) >= 42:
        return f"arp {socket.inet_ntoa(frame[38:42])}"
    if kind != 0x0800 or len(frame) < 34:
        return f"ethertype {kind:#06x}"
    target = socket.inet_ntoa(frame[30:34])
    name = {1: "icmp", 6: "tcp", 17: "udp"}.get(frame[23], f"protocol {frame[23]}")
    head = 14 + 4 * (frame[14] & 15)
    if frame[23] in (6, 17) and len(frame) >= head + 4:
        ports = struct.unpack_from("!HH", frame, head)
        return f"{name} {target}:{min(ports)}"
    return f"{name} {target}"


def open_tap(pid: int, name: str) -> int:
    """Make the device `name` in the network namespace of process `pid`; it lives as long as we."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(theirs, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        if libc.setns(own, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        return fd
    finally:
        os.close(own)
        os.close(theirs)


def run(wire: Wire) -> None:
    """Carry frames and orders until standard input ends."""
    poll = select.epoll()
    by_fd = {port.fd: port for port in wire.ports.values()}
    for fd in [*by_fd, 0]:
        poll.register(fd, select.EPOLLIN)
    orders = b""
    left: float | None = None
    while True:
        for fd, _ in poll.poll(-1 if left is None else left):
            if fd == 0:
                data = os.read(0, 65_536)
                if not data:
                    return
                *lines, orders = (orders + data).split(b"\n")
                for line in lines:
                    print(json.dumps(wire.obey(json.loads(line))), flush=True)
                continue
            for _ in range(BURST):
                try:
                    frame = os.read(fd, MAX_FRAME_NBYTES)
                except OSError:  # nothing more, or the device is down
                    break
                wire.accept(by_fd[fd], frame, time.monotonic())
        left = wire.deliver(time.monotonic())


def main() -> None:
    """Open the devices of the hosts on the command line, say so, and run."""
    seed, *hosts = map(json.loads, sys.argv[1:])
    ports = {
        host["name"]: Port(
            open_tap(host["pid"], "eth0"), bytes.fromhex(host["mac"]), Link(**host["link"])
        )
        for host in hosts
    }
    print(json.dumps("ready"), flush=True)
    run(Wire(ports, random.Random(seed)))


if __name__ == "__main__":
    main()
