"""Models as pure functions: the built-in `mlp`, and factories from the user's own file.

A model file is local code that the charter names; nothing that arrived from another peer is
ever run. Everything that goes wrong in it becomes one `ModelError` line that starts with the
file and line of the user's code.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from learnae.errors import ModelError

__all__ = ["BUILTIN", "Model", "ModelChoice", "blame", "load_model", "mlp"]

PyTree = Any

BUILTIN = ("mlp",)

_FILE_FACTORY = re.compile(r"(?P<file>[^/\\:]+\.py):(?P<function>[A-Za-z_]\w*)")


class ModelChoice(Protocol):
    """What of a charter's model section is needed here (any object with these attributes)."""

    @property
    def factory(self) -> str:
        """`mlp`, or `my_model.py:make` for a function in a file beside the charter."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword arguments of the factory."""


@dataclass(frozen=True)
class Model:
    """A model as pure functions over its params.

    Attributes
    ----------
    init
        Integer seed to params: a pytree of arrays. The same seed must give the same params on
        every peer.
    loss
        (params, batch) to a scalar, differentiable by JAX. A batch is (x, y): x float32
        [rows, columns]; y int32 [rows] classes, float32 [rows] targets, or None.
    metrics
        (params, batch) to a mapping of name to scalar, each a mean over the batch; or None.
    predict
        (params, x) to probabilities [rows, classes], or numbers [rows]; None where it cannot be
        asked for them.
    source
        The user's file, for error lines; None for a built-in model.
    """

    init: Callable[[int], PyTree]
    loss: Callable[[PyTree, Any], Any]
    metrics: Callable[[PyTree, Any], Mapping[str, Any]] | None = None
    predict: Callable[[PyTree, Any], Any] | None = None
    source: str | None = None


def load_model(
    choice: ModelChoice,
    folder: str | PathLike[str],
    *,
    features: int | None = None,
    classes: int | None = None,
) -> Model:
    """Return the model that a charter names.

    A factory in a file is called with the charter's options, and with `features` and `classes`
    where it has parameters of these names that the options do not set. It returns a `Model`,
    a tuple (init, loss), (init, loss, metrics) or (init, loss, metrics, predict), or a mapping or
    object with these names.

    Parameters
    ----------
    folder
        Where the charter, and beside it the model file, is.
    features, classes
        Number of input columns and of classes in the charter's data section.

    Raises
    ------
    ModelError
        One line: file and line of the user's code, cause, cure.
    """
    sizes = {"features": features, "classes": classes}
    given = {name: size for name, size in sizes.items() if size and name not in choice.options}
    match = _FILE_FACTORY.fullmatch(choice.factory)
    if match is None:
        return _builtin(choice, given)
    # As Python names it in tracebacks, from which `blame` reads the line.
    path = Path(folder, match["file"]).absolute()
    make = _function(path, match["function"])
    options = {**choice.options, **_accepted(make, given)}
    where = f"{path.name}:{_line(make)}"
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise ModelError(
            f"{where}: {match['function']}() does not fit the charter's model.options: {error}; "
            "change the options or the function's parameters"
        ) from error
    except ValueError:
        pass  # a callable without a signature: calling it will show
    try:
        made = make(**options)
    except (Exception, SystemExit) as error:
        raise blame(error, str(path), f"{match['function']}()") from error
    return _guarded(_normalised(made, where), str(path))


def mlp(features: int, hidden: Sequence[int] = (64, 64), classes: int = 2) -> Model:
    """Return a classifier: dense layers with ReLU between, softmax cross-entropy, accuracy.

    Weights are drawn by NumPy, which spares a peer's start the compilation of JAX's random
    numbers: He normal in front of a ReLU (He et al., 2015), Glorot normal at the end (Glorot
    & Bengio, 2010); biases are zero.
    """
    sizes = (features, *hidden, classes)
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in sizes) or classes < 2:
        raise ModelError(
            f"mlp needs positive integers: features={features}, hidden={list(hidden)}, and at "
            f"least 2 classes={classes}; mend model.options or data.classes in the charter"
        )

    def init(seed: int) -> PyTree:
        random = np.random.default_rng([seed, 0])
        layers = []
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            scale = np.sqrt(2.0 / (n_in + n_out) if last else 2.0 / n_in)
            w = (random.standard_normal((n_in, n_out)) * scale).astype(np.float32)
            layers.append({"w": w, "b": np.zeros(n_out, np.float32)})
        return layers

    def logits(params: PyTree, x: Any) -> Any:
        import jax

        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return x @ params[-1]["w"] + params[-1]["b"]

    def loss(params: PyTree, batch: Any) -> Any:
        import jax

        x, y = batch
        # one_hot and not indexing: the gradient of indexing is a scatter, slow on a CPU.
        chosen = jax.nn.one_hot(y, classes) * jax.nn.log_softmax(logits(params, x))
        return -chosen.sum() / y.shape[0]

    def metrics(params: PyTree, batch: Any) -> Mapping[str, Any]:
        x, y = batch
        return {"accuracy": (logits(params, x).argmax(-1) == y).mean()}

    def predict(params: PyTree, x: Any) -> Any:
        import jax

        return jax.nn.softmax(logits(params, x))

    return Model(init, loss, metrics, predict)


def blame(error: BaseException, source: str, doing: str) -> ModelError:
    """Return the one line for an exception out of user code: its last line in that file."""
    line = _last_line(error, source)
    where = Path(source).name + (f":{line}" if line else "")
    text = next((part.strip() for part in str(error).splitlines() if part.strip()), "").rstrip(".")
    cause = type(error).__name__ + (f": {text[:200]}" if text else "")
    return ModelError(f"{where}: {doing} raised {cause}; mend the model file")


def _last_line(error: BaseException, source: str) -> int | None:
    """Return the innermost line of the file `source` that led to `error`; None for no such line.

    Where JAX has filtered a traceback, the frames may be those of a cause only.
    """
    if isinstance(error, SyntaxError) and error.filename == source:
        return error.lineno
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        lines = [f.lineno for f in traceback.extract_tb(link.__traceback__) if f.filename == source]
        if lines:
            return lines[-1]
        link = link.__cause__ or link.__context__
    return None


def _builtin(choice: ModelChoice, given: Mapping[str, int]) -> Model:
    if choice.factory != "mlp":
        near = difflib.get_close_matches(choice.factory, BUILTIN, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "use 'mlp', or 'my_model.py:make' for own"
        raise ModelError(f"model.factory: {choice.factory!r} is not known; {hint}")
    options = {**given, **choice.options}
    unknown = sorted(set(options) - {"features", "hidden", "classes"})
    if unknown:
        raise ModelError(
            f"model.options: mlp has no option {unknown[0]!r}; it takes hidden, features, classes"
        )
    if "features" not in options:
        raise ModelError(
            "mlp needs the number of input columns: list data.columns in the charter, or set "
            "model.options.features"
        )
    if "classes" not in options:
        raise ModelError(
            "mlp needs the classes: list data.classes in the charter, or set model.options.classes"
        )
    hidden = options.get("hidden", (64, 64))
    if not isinstance(hidden, Sequence) or isinstance(hidden, str):
        raise ModelError(f"model.options.hidden is {hidden!r}; give a list such as [64, 64]")
    return mlp(options["features"], tuple(hidden), options["classes"])


def _function(path: Path, name: str) -> Callable[..., Any]:
    if not path.is_file():
        raise ModelError(
            f"{path.name}: no such file beside the charter (in {path.parent}); put it there, or "
            "mend model.factory"
        )
    module_name = f"_learnae_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickling look the module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise blame(error, str(path), "importing the file") from error
    made = getattr(module, name, None)
    if callable(made):
        return made  # type: ignore[no-any-return]
    found = [key for key, value in vars(module).items() if inspect.isfunction(value)]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"define it: def {name}(**options)"
    raise ModelError(f"{path.name}: there is no function {name!r} in it; {hint}")


def _accepted(make: Callable[..., Any], given: Mapping[str, int]) -> dict[str, int]:
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in given.items() if name in parameters}


def _line(make: Callable[..., Any]) -> int:
    code = getattr(make, "__code__", None)
    return 1 if code is None else int(code.co_firstlineno)


def _normalised(made: Any, where: str) -> Model:
    if isinstance(made, Model):
        return made
    names = ("init", "loss", "metrics", "predict")
    if isinstance(made, tuple) and 2 <= len(made) <= len(names):
        parts = dict(zip(names, made, strict=False))
    elif isinstance(made, Mapping):
        parts = {name: made.get(name) for name in names}
    else:
        parts = {name: getattr(made, name, None) for name in names}
    metrics, predict = parts.get("metrics"), parts.get("predict")
    good = callable(parts["init"]) and callable(parts["loss"])
    if not good or not all(part is None or callable(part) for part in (metrics, predict)):
        raise ModelError(
            f"{where}: returned {type(made).__name__} without the functions init(seed) and "
            "loss(params, batch); return (init, loss), (init, loss, metrics) or "
            "(init, loss, metrics, predict)"
        )
    return Model(parts["init"], parts["loss"], metrics, predict)


def _guarded(model: Model, source: str) -> Model:
    """Return the model with an `init` whose params are checked and made of NumPy arrays."""

    def init(seed: int) -> PyTree:
        try:
            params = model.init(seed)
        except Exception as error:
            raise blame(error, source, f"init({seed})") from error
        return _as_numpy(params, Path(source).name)

    return replace(model, init=init, source=source)


def _as_numpy(params: PyTree, where: str) -> PyTree:
    import jax

    floating = 0

    def convert(path: Any, leaf: Any) -> Any:
        nonlocal floating
        array = np.asarray(leaf)
        name = jax.tree_util.keystr(path) or "params"
        if array.dtype == object or array.dtype.kind in "USM":
            raise ModelError(
                f"{where}: init() put {type(leaf).__name__} into {name}; params must be a pytree "
                "of arrays"
            )
        if jax.numpy.issubdtype(array.dtype, np.floating):
            floating += 1
            if not np.isfinite(array.astype(np.float32)).all():
                raise ModelError(f"{where}: init() gave NaN or infinity in {name}; mend init")
        return array

    converted = jax.tree_util.tree_map_with_path(convert, params)
    if not floating:
        raise ModelError(
            f"{where}: init() returned no floating-point array, so there is nothing to train; "
            "return a pytree of float32 arrays"
        )
    return converted
