"""Which peers to fetch from: a choice that looks random, and that anybody can repeat.

Every peer draws its own few candidates in every round. The draw is SHA-256 of who draws, when,
and for whom, so it needs no random state: the same inputs give the same choice on every
machine, and no candidate can raise its chances in other peers' draws but by making new keys,
which a charter with a member list does not admit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

__all__ = ["choose"]

_DOMAIN = b"learnae/choose/1\n"


def choose(own_id: str, own_round: int, candidates: Iterable[str], n: int) -> list[str]:
    """Return up to `n` of the candidates (peer ids), drawn without replacement.

    The order of the candidates does not matter; the order of the result is that of the draw.
    """
    prefix = _DOMAIN + f"{own_id}\n{own_round}\n".encode()

    def rank(candidate: str) -> tuple[bytes, str]:
        return hashlib.sha256(prefix + candidate.encode()).digest(), candidate

    return sorted(set(candidates), key=rank)[: max(n, 0)]
