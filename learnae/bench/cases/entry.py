"""The form of an entry: what a kernel is given, and what it has to say about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import cast

import numpy as np

from learnae import kernels
from learnae.bench.floor import Traffic
from learnae.bench.weights import empty_bytes, sample_models, sample_step, sample_weights
from learnae.kernels import Float32, PayloadView

__all__ = ["ALONE", "SCHEMA", "Inputs", "Kernel", "Prepared", "codec_error", "encode"]

SCHEMA = bytes(32)
# Codecs that encode a model by itself.
ALONE = tuple(codec for codec in kernels.CODECS if codec not in ("delta", *kernels.PACKED))
_N_LEAVES = 100
_ERROR_LENGTH = 2**20


@dataclass(frozen=True)
class Inputs:
    """`k` models of `n` elements, and payloads of them.

    Kernels that work in place change ``models[0]``, which stays a mean of models.
    """

    n: int
    k: int
    models: tuple[Float32, ...] = field(repr=False)
    _payloads: dict[tuple[str, int], PayloadView] = field(default_factory=dict, repr=False)

    @staticmethod
    def sample(n: int, k: int) -> Inputs:
        """Return models of `sample_models`."""
        return Inputs(n, k, sample_models(n, k))

    @property
    def examples(self) -> list[int]:
        """How many examples each model has seen, as some libraries want it."""
        return list(range(self.k, 2 * self.k))

    @property
    def weights(self) -> Sequence[float]:
        """Weights that add up to one, all different; an array, as a list would be converted."""
        examples = np.array(self.examples, np.float32)
        return cast(Sequence[float], examples / examples.sum())

    @property
    def leaves(self) -> list[list[Float32]]:
        """The same models, each cut into 100 leaves of three sizes, in the same memory."""
        n = self.models[0].size
        sizes = np.array([(1, 4, 16)[i % 3] for i in range(_N_LEAVES)])
        ends = np.cumsum(sizes)[:-1] * n // sizes.sum()
        return [np.split(model, ends) for model in self.models]

    @cached_property
    def later(self) -> Float32:
        """What the first model has become after a few steps of training, as `models[0]` is now."""
        return np.asarray(self.models[0] + sample_step(self.n), np.float32)

    @cached_property
    def stack(self) -> Float32:
        """The models as they were when it was first asked for, in one array: not to be changed."""
        return np.stack(self.models)

    def payload(self, codec: str, i: int) -> PayloadView:
        """Return the payload of the i-th model as it was when it was first asked for."""
        if (codec, i) not in self._payloads:
            self._payloads[codec, i] = encode(codec, self.models[i])
        return self._payloads[codec, i]


@dataclass(frozen=True)
class Prepared:
    """One call, ready to be measured."""

    run: Callable[[], object]
    traffic: Traffic
    error: float | None = None  # relative L2, where the codec is lossy
    ratio: float | None = None  # a model's bytes by its payload's, where one is read or written


@dataclass(frozen=True)
class Kernel:
    """A function of `learnae.kernels`, as the benchmark calls it."""

    name: str
    family: str  # what is measured in the same rounds
    prepare: Callable[[Inputs, str], Prepared]
    codecs: tuple[str, ...] = ("f32",)
    k: int = 1  # models by default; 1 where it takes one and --k does not matter


def encode(codec: str, vector: Float32) -> PayloadView:
    """Return a verified payload in memory of its own."""
    buffer = empty_bytes(kernels.payload_bound(codec, 1, vector.size))
    written = kernels.payload_write(codec, SCHEMA, [vector], out=buffer.data)
    view = kernels.payload_open(written, vector.size)
    kernels.payload_verify(view)
    return view


@cache
def codec_error(codec: str) -> float | None:
    """Return the relative L2 error of weights that were encoded and decoded; None for 0."""
    weights = sample_weights(_ERROR_LENGTH, seed=1)
    decoded = kernels.payload_decode(encode(codec, weights), 0)
    exact = weights.astype(np.float64)
    error = np.linalg.norm(decoded - exact) / np.linalg.norm(exact)
    return float(error) or None
