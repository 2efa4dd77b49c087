"""What a fetched payload must be before it may be merged."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import CheckpointError, HostileBytes, PayloadError, SchemaError
from learnae.payload import Schema

__all__ = ["check_model", "gate", "open_payload", "saved_params"]


def open_payload(buffer: memoryview, schema: Schema) -> kernels.PayloadView:
    """Return a payload of the swarm's model, every block checked.

    Raises
    ------
    PayloadError
        If the bytes are no payload, are damaged, or belong to another model. Whether the payload
        stands alone is not looked at.
    """
    view = kernels.payload_open(buffer, schema.n_elements)
    if view.schema_digest != schema.digest or view.n_elements != schema.n_elements:
        raise PayloadError("payload is of another model: its schema differs from ours")
    if view.n_vectors > 2:
        raise PayloadError(f"payload has {view.n_vectors} vectors, at most 2 are known")
    kernels.payload_verify(view)
    return view


def gate(
    buffer: memoryview,
    schema: Schema,
    params: NDArray[np.float32],
    max_distance: float,
    with_gradient: bool = True,
) -> kernels.PayloadView:
    """Open a payload that stands alone and check that it may be merged, as `check_model` does.

    Raises
    ------
    PayloadError
        With the first rule that it breaks.
    """
    view = open_payload(buffer, schema)
    if view.base:
        raise PayloadError("payload is a difference to another one")
    check_model(view, params, max_distance, with_gradient)
    return view


def check_model(
    view: kernels.PayloadView,
    params: NDArray[np.float32],
    max_distance: float,
    with_gradient: bool = True,
) -> None:
    """Check that a model may be merged: finite, not absurdly far.

    There is no gate on one's own loss: on skewed data the swarm's good model looks bad on one's
    own share, and such a gate would cut off the peers that need the others most.

    Parameters
    ----------
    view
        Of our schema; stands alone, all blocks checked.
    params
        Own params, float32, shape (n_elements,).
    max_distance
        Largest allowed Euclidean distance from `params`, as a multiple of their norm, or of
        that of params of 0.1 each where this is more: who starts from zeros is far from all.
    with_gradient
        False where the caller looks at the gradient's numbers itself.

    Raises
    ------
    PayloadError
        With the first rule that it breaks.
    """
    distance2, _ = kernels.payload_distance(view, 0, params)
    if with_gradient and view.n_vectors > 1:
        kernels.payload_distance(view, 1, None)
    least = max_distance * 0.1 * math.sqrt(params.size)
    if distance2 <= least * least:
        return  # as nearly always; the norm, which costs a pass over the params, is not needed
    limit = max(least, max_distance * math.sqrt(float(np.dot(params, params))))
    if distance2 > limit * limit:
        raise PayloadError(
            f"params are {math.sqrt(distance2):.3g} away from ours, more than {limit:.3g} allowed"
        )


def saved_params(payload: bytes, schema: Schema, home: str) -> NDArray[np.float32]:
    """Return the params of a checkpoint, float32, shape (schema.n_elements,).

    Raises
    ------
    SchemaError
        If they are another model's: its file was changed, or the folder is not its own.
    CheckpointError
        If they are no payload.
    """
    try:
        view = kernels.payload_open(payload, 2**40)
    except HostileBytes as error:
        raise CheckpointError(f"{home}: the saved params are damaged: {error}") from error
    if view.schema_digest != schema.digest or view.n_elements != schema.n_elements:
        raise SchemaError(
            f"{home} holds params of other shapes than this model's; give the model that the peer "
            "trained (its file is beside the charter), or another folder (--home)"
        )
    return kernels.payload_decode(view, 0)
