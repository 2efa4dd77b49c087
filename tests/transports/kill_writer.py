"""Processes that put, publish and drop as fast as they can, until they are killed.

The program forks one for each line on stdin (a seed), so that a hundred do not each wait for
imports. It prints ``begin <pid>``; the process, a number after each operation; and after its
death the program prints ``end``.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys

from learnae.transports.directory import DirectoryTransport

__all__ = ["KEEP", "TOPIC", "main"]

KEEP = 4
TOPIC = "learnae/1/kill"
SIZES = (0, 700, 10_000, 1_500_000, 5_000_000)  # the large ones take long enough to be hit
NOISE = random.Random(0).randbytes(6_000_000)


def main() -> None:
    """Write below the folder of the command line."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            write(sys.argv[1], random.Random(int(line)))
        os.waitpid(pid, 0)
        print("end", flush=True)


def say(number: int) -> None:
    """Print a line at once or not at all: print() makes two writes where stdout has no buffer."""
    os.write(sys.stdout.fileno(), b"%d\n" % number)


def write(path: str, rng: random.Random) -> None:
    """Never return."""
    print("begin", os.getpid(), flush=True)
    transport = DirectoryTransport(path, "writer")
    for cid in transport.owned()[:-KEEP]:
        transport.drop(cid)
    n = 0
    while True:
        start = rng.randrange(1_000_000)
        cid = transport.put(NOISE[start : start + rng.choice(SIZES)])
        say(n := n + 1)
        message = cid + rng.randbytes(rng.randrange(900))
        transport.publish(TOPIC, hashlib.sha256(message).digest() + message)
        say(n := n + 1)
        for old in transport.owned()[:-KEEP]:
            transport.drop(old)


if __name__ == "__main__":
    main()
