"""Weights to encode and average: seeded, and spread as those of a trained network are.

A codec's error depends on how the values in one group are spread, so uniform noise would flatter
some codecs and slander others. Here each layer has its own scale (1 / sqrt(fan-in), between 16
and 4,096 inputs), and within a layer values are heavy-tailed: Student's t with 20 degrees of
freedom, which gives `i8` and `bf16` the errors that they have on trained dense networks
(about 7.6e-3 and 1.7e-3 relative L2).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from learnae.kernels import Float32

__all__ = ["empty_bytes", "sample_models", "sample_step", "sample_weights"]

_FREEDOM = 20
_LAYER = 65536
_PERIOD = 64 * _LAYER  # generated once, and repeated beyond
_BETWEEN = 9973 * 256  # from one model's start in the period to the next one's


def sample_weights(n: int, seed: int = 0) -> Float32:
    """Return `n` weights; the same for the same seed."""
    return np.resize(_period(min(n, _PERIOD), seed), n)


@lru_cache(maxsize=2)  # every group of one size starts from the same
def _period(length: int, seed: int) -> Float32:
    random = np.random.default_rng(seed)
    scales = _scales(random, length)
    return (random.standard_t(_FREEDOM, length) * scales).astype(np.float32)


def sample_step(n: int, seed: int = 0) -> Float32:
    """Return what a few steps of training add to `sample_weights` of the same seed.

    A thousandth of each layer's scale, normally distributed.
    """
    length = min(n, _PERIOD)
    scales = _scales(np.random.default_rng(seed), length)
    noise = np.random.default_rng(seed + 1).normal(0.0, 1e-3, length)
    return np.resize((noise * scales).astype(np.float32), n)


def _scales(random: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Return each weight's scale."""
    scales = 2.0 ** -random.uniform(2, 6, -(-length // _LAYER))
    return np.repeat(scales, _LAYER)[:length]


def sample_models(n: int, k: int, seed: int = 0) -> tuple[Float32, ...]:
    """Return `k` models of `n` weights each, every one in aligned memory of its own."""
    first = sample_weights(n, seed)
    models = []
    for i in range(k):
        model, turn = empty_bytes(4 * n).view(np.float32), i * _BETWEEN % n
        model[:turn], model[turn:] = first[n - turn :], first[: n - turn]
        models.append(model)
    return tuple(models)


def empty_bytes(nbytes: int) -> NDArray[np.uint8]:
    """Return memory on a 64-byte boundary, in huge pages where NumPy asks for them.

    JAX takes such models as they are, without a copy; of payloads that lie so, as mapped files do,
    each block does.
    """
    raw = np.empty(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]
