"""Models as chains of differences, for codecs too coarse to carry one by themselves.

A peer of such a swarm publishes a *key*, a payload that stands alone, and then for a while only
differences, each to the payload before it::

    key <- difference <- difference <- ...      key <- difference <- ...

The sender keeps what the others decode. What a difference could not carry is still missing from
that, so the next one is made of it too: error feedback, with no state besides (Karimireddy et
al. 2019; with differences kept by both sides as in CHOCO, Koloskova et al. 2019). A receiver
that remembers the payload before needs the difference alone; any other walks back to what it
knows or to the key.

Sender and receiver run the same `kernels.payload_rebase`, so what the sender takes the others to
know has the same bits as what they know. The receiver's half is `learnae.node.resolving`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import HostileBytes
from learnae.node.contribution import Contribution
from learnae.node.gate import open_payload
from learnae.payload import Schema
from learnae.swarm import Charter

__all__ = ["Draft", "Sender", "largest_payload_nbytes", "payload_bound"]

Float32 = NDArray[np.float32]
_KNOWN, _CID, _PLACE = "learnae.chain.known", "learnae.chain.cid", "learnae.chain.place"


def largest_payload_nbytes(charter: Charter, schema: Schema) -> int:
    """Return the size in bytes that no payload of this swarm exceeds."""
    n_vectors = 2 if charter.training.drift_correction else 1
    nbytes = payload_bound(charter, schema, n_vectors)
    if charter.gossip.is_chained:
        key = kernels.payload_bound(charter.gossip.key_codec, n_vectors, schema.n_elements)
        nbytes = max(nbytes, key)
    return nbytes


def payload_bound(charter: Charter, schema: Schema, n_vectors: int) -> int:
    """Return the size in bytes that none in the swarm's codec exceeds; a key may."""
    codec, density = charter.gossip.codec, _density(charter)
    return kernels.payload_bound(codec, n_vectors, schema.n_elements, density=density)


def _plain(codec: str) -> str:
    """Return the codec that encodes: what a packed one is packed from."""
    return kernels.PACKED.get(codec, codec)


def _density(charter: Charter) -> float:
    return charter.gossip.density if charter.gossip.codec == "topk" else 0.0


@dataclass(frozen=True)
class _Known:
    """What the others decode: the payload `cid`, rebased; `place` is how far from its key."""

    cid: bytes
    view: kernels.PayloadView
    place: int


@dataclass(frozen=True)
class Draft:
    """A payload to publish, and what the others will know when they have it.

    Attributes
    ----------
    payload
        The bytes to store.
    view
        Their sum with what came before; stands alone. None where there are no chains.
    place
        Differences since the key, this one included.
    """

    payload: bytes | bytearray
    view: kernels.PayloadView | None
    place: int = 0


class Sender:
    """The sending end of one peer's chain.

    Nothing here locks. `draft` and `sent` belong to one thread; `dump` may be called from
    another at any time.
    """

    def __init__(self, charter: Charter, schema: Schema) -> None:
        self._charter, self._schema = charter, schema
        self._known: _Known | None = None

    def encode(self, params: Float32, gradient: Float32 | None) -> bytearray:
        """Encode params (and the round's mean gradient) for `draft`, at the end of a round.

        It is done with the charter's codec, not packed yet, or in f32 where that one carries
        differences: which payload to is known only when this one is published, and it may never be.

        Raises
        ------
        ValueError
            If a value is NaN or infinite and the codec cannot carry it.
        """
        vectors = [params] if gradient is None else [params, gradient]
        codec = "f32" if self._charter.gossip.is_chained else _plain(self._charter.gossip.codec)
        return kernels.payload_write(codec, self._schema.digest, vectors)

    def draft(self, contribution: Contribution) -> Draft:
        """Make of a contribution, encoded by `encode`, what is published; changes nothing."""
        if not self._charter.gossip.is_chained:
            return Draft(self._packed(contribution.payload, self._charter.gossip.codec), None)
        whole = kernels.payload_open(contribution.payload, self._schema.n_elements)
        vectors = [kernels.payload_decode(whole, v) for v in range(whole.n_vectors)]
        known = self._known
        if known is not None and not self._key_is_due(contribution, known, len(vectors)):
            try:
                return self._difference(known, vectors)
            except ValueError:  # both ends are finite and their difference is not
                pass
        gossip = self._charter.gossip
        key = kernels.payload_write(_plain(gossip.key_codec), self._schema.digest, vectors)
        view = kernels.payload_open(key, self._schema.n_elements)
        return Draft(self._packed(key, gossip.key_codec), view)

    def sent(self, draft: Draft, cid: bytes) -> None:
        """Note that a draft was published under `cid`: the next one is made from it."""
        if draft.view is not None:
            self._known = _Known(cid, draft.view, draft.place)

    def dump(self) -> dict[str, NDArray[np.generic]]:
        """Return what has to survive a restart, as arrays; empty before the first payload."""
        known = self._known
        if known is None:
            return {}
        return {
            _KNOWN: np.frombuffer(known.view.buffer, np.uint8),
            _CID: np.frombuffer(known.cid, np.uint8),
            _PLACE: np.array([known.place], np.uint16),
        }

    def resume(self, arrays: Mapping[str, NDArray[np.generic]], stored: Collection[bytes]) -> bool:
        """Go on from what `dump` returned, if the others can still get that payload from us.

        Otherwise, and for arrays that are not as `dump` made them, the next payload is a key.

        Parameters
        ----------
        arrays
            Those of a checkpoint.
        stored
            CIDs of our own payloads that others can still fetch.

        Returns
        -------
        bool
            Whether the next payload can be a difference.
        """
        if not all(name in arrays for name in (_KNOWN, _CID, _PLACE)):
            return False
        cid, place = arrays[_CID].tobytes(), arrays[_PLACE].tobytes()
        if cid not in stored or len(place) != 2:
            return False
        try:
            view = open_payload(memoryview(arrays[_KNOWN].tobytes()), self._schema)
        except HostileBytes:
            return False
        self._known = _Known(cid, view, int.from_bytes(place, "little"))
        return True

    def _key_is_due(self, contribution: Contribution, known: _Known, n_vectors: int) -> bool:
        return (
            known.place + 1 >= self._charter.gossip.key_every
            or known.view.n_vectors != n_vectors
            # A relay's mean, of which newcomers live and which jumps from one to the next.
            or contribution.samples == 0
            # What a peer stops with is what others go on with, or export: without a residual.
            or contribution.round == self._charter.training.rounds
        )

    def _difference(self, known: _Known, vectors: list[Float32]) -> Draft:
        n_elements, codec = self._schema.n_elements, self._charter.gossip.codec
        payload = kernels.payload_write(
            _plain(codec),
            self._schema.digest,
            vectors,
            base=known.view,
            base_cid=known.cid,
            density=_density(self._charter),
        )
        rebased = kernels.payload_rebase(known.view, kernels.payload_open(payload, n_elements))
        view = kernels.payload_open(rebased, n_elements)
        return Draft(self._packed(payload, codec), view, known.place + 1)

    def _packed(self, payload: bytes | bytearray, codec: str) -> bytes | bytearray:
        """Pack what is about to be sent, where the charter's codec is a packed one."""
        if codec not in kernels.PACKED:
            return payload
        return kernels.payload_pack(kernels.payload_open(payload, self._schema.n_elements))
