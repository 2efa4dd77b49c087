"""The models that a peer remembers: the last accepted payload of every other peer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae import kernels
from learnae.node.gate import check_model
from learnae.node.merging import Merged, longest_gradient, merge
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
    """Models by the CID they were announced under. The protocol says whom to remember.

    A model that came as a difference is held as the sum, so all of them stand alone.

    Nothing here locks: whoever calls `keep` and `of` from two threads must.
    """

    def __init__(self, charter: Charter) -> None:
        self._charter = charter
        self._held: dict[bytes, Held] = {}

    def examine(self, view: kernels.PayloadView, params: Float32) -> Held:
        """Gate a model that has just been fetched; it stands alone.

        Raises
        ------
        HostileBytes
            It is not finite, or too far from `params`.
        """
        check_model(view, params, self._charter.gossip.max_distance, with_gradient=False)
        return Held.of(view)

    def view(self, cid: bytes) -> kernels.PayloadView | None:
        """Return what is remembered under a CID, if anything."""
        held = self._held.get(cid)
        return None if held is None else held.view

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
