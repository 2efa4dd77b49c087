"""The models that a peer remembers: the last accepted payload of every other peer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae import kernels
from learnae.node.gate import gate, open_payload
from learnae.node.merging import Merged, longest_gradient, merge
from learnae.payload import Schema
from learnae.swarm import Charter
from learnae.swarm.peer import Contribution

__all__ = ["Held", "Remembered", "merge_held"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Held:
    """A payload that was accepted, and the Euclidean norm of its gradient (0 where it has none)."""

    view: kernels.PayloadView
    gradient_norm: float

    @staticmethod
    def of(view: kernels.PayloadView) -> Held:
        """Measure the gradient of a payload."""
        if view.n_vectors < 2:
            return Held(view, 0.0)
        return Held(view, math.sqrt(kernels.payload_distance(view, 1, None)[1]))


class Remembered:
    """Payloads by CID. The protocol says whom to remember; here are the bytes.

    Nothing here locks: whoever calls `keep` and `of` from two threads must.
    """

    def __init__(self, charter: Charter, schema: Schema) -> None:
        self._charter, self._schema = charter, schema
        self._held: dict[bytes, Held] = {}

    @property
    def max_payload_nbytes(self) -> int:
        """Size in bytes of a payload of this swarm: nobody needs a larger one."""
        n_vectors = 2 if self._charter.training.drift_correction else 1
        codec = self._charter.gossip.codec
        return kernels.payload_nbytes(codec, n_vectors, self._schema.n_elements)

    def examine(self, buffer: memoryview, params: Float32) -> Held:
        """Gate a payload that has just been fetched.

        Raises
        ------
        HostileBytes
            It is no payload of this swarm, or too far from `params`.
        """
        max_distance = self._charter.gossip.max_distance
        return Held.of(gate(buffer, self._schema, params, max_distance, with_gradient=False))

    def reopen(self, buffer: memoryview) -> Held:
        """Open a payload that was accepted before a restart.

        Raises
        ------
        HostileBytes
            It is no payload of this swarm.
        """
        return Held.of(open_payload(buffer, self._schema))

    def keep(self, cid: bytes, held: Held, contributions: Iterable[Contribution]) -> None:
        """Keep a payload, and let go those that no contribution names any more."""
        self._held[cid] = held
        named = {contribution.cid for contribution in contributions}
        for gone in [cid for cid in self._held if cid not in named]:
            del self._held[gone]

    def of(self, contributions: Iterable[Contribution]) -> list[tuple[Held, float]]:
        """Return the payloads of these contributions, in their order, with their weights."""
        return [(self._held[c.cid], c.weight) for c in contributions if c.cid in self._held]


def merge_held(
    params: Float32,
    gradient: Float32 | None,
    samples: int | None,
    held: list[tuple[Held, float]],
    charter: Charter,
) -> Merged:
    """Merge remembered payloads into `params`, in place.

    Arguments and result as in `learnae.node.merging.merge`. A gradient absurdly longer than the
    others' does not take part in the shift.
    """
    others = [(h.view, weight) for h, weight in held]
    gradients = None
    if gradient is not None:
        norms = [h.gradient_norm for h, weight in held if weight > 0 and h.view.n_vectors > 1]
        limit = longest_gradient(gradient, norms, charter.gossip.max_distance)
        gradients = [(h.view, weight) for h, weight in held if h.gradient_norm <= limit]
    return merge(params, gradient, samples, others, charter.gossip.mix_rate, gradients)
