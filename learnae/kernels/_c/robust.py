"""Robust aggregation by the compiled core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae._core import ffi, lib
from learnae.kernels._c.call import call, floats, pointers
from learnae.kernels._c.payloads import payload_of
from learnae.kernels._seam import Float32, Float64, PayloadView

__all__ = [
    "clip",
    "distances",
    "krum",
    "payload_clip",
    "payload_distances",
    "payload_trimmed_mean",
    "trimmed_mean",
]


def _doubles(array: Float64) -> Any:
    return ffi.from_buffer("double[]", array)


def _payloads(views: Sequence[PayloadView]) -> Any:
    return ffi.new("const learnae_payload *[]", [payload_of(view) for view in views])


def trimmed_mean(dst: Float32, models: Sequence[Float32], n_trim: int) -> None:
    call(lib.learnae_trimmed_mean, floats(dst), pointers(models), len(models), n_trim, dst.size)


def distances(models: Sequence[Float32]) -> Float64:
    out = np.empty((len(models), len(models)))
    call(lib.learnae_distances, _doubles(out), pointers(models), len(models), models[0].size)
    return out


def krum(distances2: Float64, n_faulty: int, n_selected: int) -> tuple[NDArray[np.int64], Float64]:
    n = distances2.shape[0]
    selected, scores = ffi.new("size_t[]", n_selected), np.empty(n)
    call(
        lib.learnae_krum,
        *(selected, _doubles(scores), _doubles(distances2), n, n_faulty, n_selected),
    )
    return np.array(list(selected), np.int64), scores


def clip(distances2: Float64, weights: Float32, radius: float) -> tuple[float, Float32]:
    clipped, own_weight = np.empty_like(weights), ffi.new("float *")
    call(
        lib.learnae_clip,
        *(floats(clipped), own_weight, _doubles(distances2), floats(weights)),
        *(weights.size, radius),
        ours=True,
    )
    return float(own_weight[0]), clipped


def payload_trimmed_mean(
    dst: Float32, own: Float32 | None, views: Sequence[PayloadView], n_trim: int, vector: int
) -> None:
    at = ffi.NULL if own is None else floats(own)
    call(
        lib.learnae_payload_trimmed_mean,
        *(floats(dst), at, _payloads(views), len(views), n_trim, vector, dst.size),
    )


def payload_distances(own: Float32 | None, views: Sequence[PayloadView], vector: int) -> Float64:
    n_models = len(views) + (own is not None)
    n_elements = views[0].n_elements if own is None else own.size
    out = np.empty((n_models, n_models))
    at = ffi.NULL if own is None else floats(own)
    call(
        lib.learnae_payload_distances,
        *(_doubles(out), at, _payloads(views), len(views), vector, n_elements),
    )
    return out


def payload_clip(
    dst: Float32, views: Sequence[PayloadView], weights: Float32, radius: float, vector: int
) -> Float32:
    clipped = np.empty_like(weights)
    call(
        lib.learnae_payload_clip,
        *(floats(dst), _payloads(views), floats(weights), len(views), radius),
        *(vector, dst.size, floats(clipped)),
    )
    return clipped
