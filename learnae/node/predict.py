"""A trained model applied to new rows: a peer's newest, or one that lies in a payload."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae import kernels
from learnae.errors import DataError, ModelError, PayloadError, SchemaError
from learnae.learn import tabular
from learnae.learn.csvtext import read_header
from learnae.learn.models import Model, blame
from learnae.node.evaluate import load_home
from learnae.node.join import read_charter
from learnae.node.trainer import charter_model
from learnae.payload import PyTree, Schema, unflatten
from learnae.swarm.charter import Charter, DataSection

__all__ = ["Predictions", "predict"]

_CHUNK = 65536
_HOW = "return (init, loss, metrics, predict), with predict(params, x) to"


@dataclass(frozen=True)
class Predictions:
    """What a model says of some rows.

    Attributes
    ----------
    classes
        Of the charter; none where a number is predicted.
    values
        float32 [rows, classes], probabilities; or float32 [rows].
    round
        The peer's round; None for a payload, which does not say.
    note
        What the user should know about the standardisation; None for nothing.
    """

    classes: tuple[str, ...]
    values: NDArray[np.float32]
    round: int | None
    note: str | None


def predict(source: Path, charter: Path, data: Path) -> Predictions:
    """Apply the model in `source` to the rows of `data`, standardised as in `evaluate_homes`.

    Parameters
    ----------
    source
        A peer's folder, or a payload file that stands alone.
    data
        Rows with the charter's columns; a label is not needed, and ignored.

    Raises
    ------
    LearnaeError
        One of its kinds, with one line for the user.
    """
    from learnae.learn.optimizers import require_jax

    require_jax()
    if source.is_dir():
        loaded = load_home(source, charter)
        swarm, model, params = loaded.charter, loaded.model, loaded.params
        round_: int | None = loaded.round
    else:
        swarm, model, params = _load_payload(source, charter)
        round_ = None
    choice = _without_label(swarm.data, data)
    table = tabular.read_table(data, choice)
    if choice.mean is None and len(table) < 2:
        raise DataError(
            f"{data}: the charter has no mean and deviation, and one row has none of its own; give "
            "more rows at once"
        )
    table, note = tabular.standardise(table, choice)
    if note is not None:
        note = f"standardised by the mean and deviation of these {len(table)} rows, not of training"
    parts = [
        _apply(model, params, table.x[start : start + _CHUNK], swarm.data.classes)
        for start in range(0, len(table), _CHUNK)
    ]
    return Predictions(swarm.data.classes, np.concatenate(parts), round_, note)


def _load_payload(file: Path, charter: Path) -> tuple[Charter, Model, PyTree]:
    swarm = read_charter(charter)
    model = charter_model(swarm, charter.parent)
    like = model.init(swarm.seed)
    schema = Schema.of(like)
    try:
        view = kernels.payload_open(file.read_bytes(), schema.n_elements)
        kernels.payload_verify(view)
    except PayloadError as error:
        raise PayloadError(f"{file}: {error}") from error
    if view.schema_digest != schema.digest or view.n_elements != schema.n_elements:
        raise SchemaError(f"{file} holds params of other shapes than the model of {charter}")
    if view.base:
        raise PayloadError(f"{file} is a difference to another payload: give the peer's folder")
    if view.codec in kernels.PACKED:
        view = kernels.payload_open(kernels.payload_unpack(view), schema.n_elements)
    return swarm, model, unflatten(schema, kernels.payload_decode(view, 0), like)


def _without_label(section: DataSection, data: Path) -> DataSection:
    """Return the same columns with no label, so that the file needs none."""
    columns = section.columns
    if not columns and data.suffix != ".npz" and data.is_file():
        columns = tuple(name for name in read_header(data) if name != section.label)
    return replace(section, label=None, columns=columns)


def _apply(
    model: Model, params: PyTree, x: tabular.Float32, classes: tuple[str, ...]
) -> NDArray[np.float32]:
    where = "the model" if model.source is None else Path(model.source).name
    if model.predict is None:
        raise ModelError(f"{where}: there is no predict to ask; {_HOW} {_what(classes)}")
    try:
        made: Any = np.asarray(model.predict(params, x), np.float32)
    except Exception as error:
        if model.source is None:
            raise
        raise blame(error, model.source, "predict(params, x)") from error
    shape = (len(x), len(classes)) if classes else (len(x),)
    if not classes and made.shape == (len(x), 1):
        made = made[:, 0]
    if made.shape != shape:
        raise ModelError(f"{where}: predict gave shape {made.shape}, not {shape}: {_what(classes)}")
    if not np.isfinite(made).all():
        raise ModelError(f"{where}: predict gave NaN or infinity; the model is of no use")
    if classes and not ((made >= 0).all() and (np.abs(made.sum(axis=1) - 1) < 1e-3).all()):
        raise ModelError(
            f"{where}: predict gave rows that are negative or do not add up to 1: {_what(classes)}"
        )
    return made  # type: ignore[no-any-return]


def _what(classes: tuple[str, ...]) -> str:
    return "probabilities [rows, classes], as of jax.nn.softmax" if classes else "numbers [rows]"
