from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

from learnae.errors import ModelError
from learnae.learn.models import Model, blame, load_model, mlp
from learnae.learn.optimizers import make_optimizer
from learnae.learn.rounds import make_round

from choices import ModelName  # isort: skip


def load(folder: Path, source: str, name: str = "make", **options: Any) -> Model:
    (folder / "my_model.py").write_text(textwrap.dedent(source))
    return load_model(ModelName(f"my_model.py:{name}", options), folder, features=3, classes=2)


def message(caught: pytest.ExceptionInfo[ModelError]) -> str:
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


LINEAR = """
    import jax.numpy as jnp

    def init(seed):
        return {"w": jnp.full(3, 0.5), "steps": jnp.array(4)}

    def loss(params, batch):
        x, y = batch
        return ((x @ params["w"] - y) ** 2).mean()

    def mse(params, batch):
        return {"mse": loss(params, batch)}
"""


def test_mlp_init_is_numpy_repeatable_and_scaled() -> None:
    params = mlp(10, (64, 64), 2).init(7)
    assert [layer["w"].shape for layer in params] == [(10, 64), (64, 64), (64, 2)]
    for layer in params:
        assert type(layer["w"]) is np.ndarray and layer["w"].dtype == np.float32
        assert not layer["b"].any()
    assert params[1]["w"].std() == pytest.approx(np.sqrt(2 / 64), rel=0.05)
    assert params[2]["w"].std() == pytest.approx(np.sqrt(2 / 66), rel=0.3)
    np.testing.assert_array_equal(params[1]["w"], mlp(10, (64, 64), 2).init(7)[1]["w"])
    assert not np.array_equal(params[1]["w"], mlp(10, (64, 64), 2).init(8)[1]["w"])


def test_mlp_loss_and_accuracy_by_hand() -> None:
    model = mlp(2, (), 3)
    params = [{"w": np.array([[1, 0, 0], [0, 1, 0]], np.float32), "b": np.zeros(3, np.float32)}]
    x, y = np.array([[2, 0], [0, 2]], np.float32), np.array([0, 0], np.int32)
    logits = np.array([[2, 0, 0], [0, 2, 0]], np.float64)
    expected = (np.log(np.exp(logits).sum(axis=1)) - logits[:, 0]).mean()
    assert float(model.loss(params, (x, y))) == pytest.approx(expected, rel=1e-6)
    assert model.metrics is not None and float(model.metrics(params, (x, y))["accuracy"]) == 0.5


def test_mlp_from_a_charter_takes_sizes_from_the_data() -> None:
    choice = ModelName("mlp", {"hidden": [4]})
    params = load_model(choice, ".", features=3, classes=2).init(0)
    assert [layer["w"].shape for layer in params] == [(3, 4), (4, 2)]
    bigger = ModelName("mlp", {"hidden": [4], "features": 9})
    assert load_model(bigger, ".", features=3, classes=2).init(0)[0]["w"].shape == (9, 4)


@pytest.mark.parametrize(
    ("factory", "options", "says"),
    [
        ("mpl", {}, "did you mean 'mlp'"),
        ("resnet", {}, "use 'mlp', or 'my_model.py:make'"),
        ("../my_model.py:make", {}, "is not known"),
        ("/tmp/my_model.py:make", {}, "is not known"),
        ("os:system", {}, "is not known"),
        ("mlp", {"hiden": [3]}, "no option 'hiden'"),
        ("mlp", {"hidden": "64"}, "give a list such as"),
        ("mlp", {"hidden": [0]}, "needs positive integers"),
        ("mlp", {"hidden": [True]}, "needs positive integers"),
        ("mlp", {"classes": 1}, "at least 2 classes"),
    ],
)
def test_builtin_mistakes(factory: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(ModelName(factory, options), ".", features=3, classes=2)
    assert says in message(caught)


def test_mlp_without_sizes() -> None:
    with pytest.raises(ModelError, match=r"list data\.columns"):
        load_model(ModelName("mlp"), ".", classes=2)
    with pytest.raises(ModelError, match=r"list data\.classes"):
        load_model(ModelName("mlp"), ".", features=2, classes=0)


@pytest.mark.parametrize(
    "returns",
    [
        "(init, loss)",
        "(init, loss, mse)",
        "{'init': init, 'loss': loss}",
        "__import__('types').SimpleNamespace(init=init, loss=loss, metrics=mse)",
        "__import__('learnae.learn.models', fromlist=['Model']).Model(init, loss)",
    ],
)
def test_own_factories(tmp_path: Path, returns: str) -> None:
    model = load(tmp_path, LINEAR + f"\n    def make():\n        return {returns}\n")
    params = model.init(0)
    assert type(params["w"]) is np.ndarray and params["w"].dtype == np.float32
    fns = make_round(model, make_optimizer("sgd", 0.1), params)
    flat = fns.layout.flatten(params)
    x = np.random.default_rng(0).standard_normal((50, 8, 3)).astype(np.float32)
    got = fns.run(flat, fns.start(), None, (x, x @ np.array([1, 2, 3], np.float32)))
    np.testing.assert_allclose(got.params, [1, 2, 3], atol=0.05)
    values = fns.metrics(got.params, (x[0], x[0] @ np.array([1, 2, 3], np.float32)))
    assert set(values) == ({"loss", "mse"} if "mse" in returns else {"loss"})


def test_a_factory_gets_options_and_the_sizes_it_asks_for(tmp_path: Path) -> None:
    source = """
    import numpy as np
    def make(width, features, classes=5):
        return (lambda seed: np.zeros((width, features, classes))), (lambda p, b: p.sum())
    """
    assert load(tmp_path, source, width=4).init(0).shape == (4, 3, 2)
    assert load(tmp_path, source, width=4, classes=7).init(0).shape == (4, 3, 7)


GOOD_LOSS = "lambda params, batch: params.sum()"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\n", "my_model.py: there is no function 'make' in it; define it"),
        ("def makes():\n    pass\n", "did you mean 'makes'"),
        ("def make(:\n", "my_model.py:1: importing the file raised SyntaxError"),
        ("\nimport nothing_like_it\n", "my_model.py:2: importing the file raised ModuleNotFound"),
        ("raise SystemExit(3)\n", "my_model.py:1: importing the file raised SystemExit: 3"),
        (
            "def make():\n    x = 1\n    return {}['a\\nb']\n",
            "my_model.py:3: make() raised KeyError",
        ),
        (
            "def make():\n    raise ValueError('bad\\nluck')\n",
            "my_model.py:2: make() raised ValueE",
        ),
        ("def make():\n    int('x')\n", "my_model.py:2: make() raised ValueError: invalid literal"),
        ("\ndef make():\n    return 3\n", "my_model.py:2: returned int without the functions"),
        ("def make():\n    return (1, 2)\n", "my_model.py:1: returned tuple without"),
        ("def make():\n    return {'init': make}\n", "my_model.py:1: returned dict without"),
        ("def make(a):\n    pass\n", "my_model.py:1: make() does not fit the charter's model.opt"),
    ],
)
def test_own_mistakes_name_file_and_line(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path, source)
    assert says in message(caught)


def test_an_option_the_factory_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path, "def make():\n    pass\n", depth=3)
    assert "unexpected keyword argument 'depth'" in message(caught)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(ModelName("my_model.py:make"), tmp_path)
    assert "no such file beside the charter" in message(caught)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise RuntimeError('no luck')", "my_model.py:3: init(0) raised RuntimeError: no luck"),
        ("return {'a': object()}", "init() put object into ['a']"),
        ("return {'a': 'text'}", "init() put str into ['a']"),
        ("return [np.arange(3)]", "init() returned no floating-point array"),
        ("return [np.array([1.0, np.nan])]", "init() gave NaN or infinity in [0]"),
    ],
)
def test_a_bad_init(tmp_path: Path, body: str, says: str) -> None:
    source = f"import numpy as np\ndef init(seed):\n    {body}\n"
    model = load(tmp_path, source + f"def make():\n    return init, {GOOD_LOSS}\n")
    with pytest.raises(ModelError) as caught:
        model.init(0)
    assert says in message(caught)


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ("x @ params", "my_model.py:4: loss(params, batch) raised TypeError"),
        ("params['w']", "my_model.py:4: loss(params, batch) raised"),
        ("(x * 2.0).sum(axis=1) + params.sum()", "loss returned (4,); it must return a scalar"),
        ("3", "loss returned int; it must return a scalar"),
    ],
)
def test_a_bad_loss(tmp_path: Path, loss: str, says: str) -> None:
    source = f"import numpy as np\ndef loss(params, batch):\n    x, y = batch\n    return {loss}\n"
    model = load(tmp_path, source + "def make():\n    return lambda s: np.ones(5), loss\n")
    fns = make_round(model, make_optimizer("sgd", 0.1), model.init(0))
    batch = np.ones((2, 4, 3), np.float32), np.ones((2, 4), np.int32)
    with pytest.raises(ModelError) as caught:
        fns.run(fns.layout.flatten(model.init(0)), fns.start(), None, batch)
    assert says in message(caught)


def test_a_bad_loss_beside_a_charter_named_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import numpy as np\ndef loss(params, batch):\n    return batch[0] @ params\n"
    monkeypatch.chdir(tmp_path)
    model = load(Path(), source + "def make():\n    return lambda s: np.ones(7), loss\n")
    fns = make_round(model, make_optimizer("sgd", 0.1), model.init(0))
    batch = np.ones((2, 4, 3), np.float32), np.ones((2, 4), np.int32)
    with pytest.raises(ModelError) as caught:
        fns.run(fns.layout.flatten(model.init(0)), fns.start(), None, batch)
    assert message(caught).startswith("my_model.py:3: loss(params, batch) raised TypeError")
    assert ".;" not in message(caught)


def test_the_line_of_a_cause_is_found(tmp_path: Path) -> None:
    source = "def make():\n    raise KeyError('x')\n"
    with pytest.raises(ModelError) as caught:
        load(tmp_path, source)
    error = RuntimeError("filtered.")
    error.__cause__ = caught.value.__cause__
    found = str(blame(error, str(tmp_path / "my_model.py"), "make()"))
    assert found == "my_model.py:2: make() raised RuntimeError: filtered; mend the model file"


def test_bad_metrics(tmp_path: Path) -> None:
    source = f"import numpy as np\ndef make():\n    return lambda s: np.ones(5), {GOOD_LOSS}, bad\n"
    model = load(tmp_path, source + "def bad(params, batch):\n    return 3\n")
    fns = make_round(model, make_optimizer("sgd", 0.1), model.init(0))
    with pytest.raises(ModelError, match="metrics returned int"):
        fns.metrics(np.ones(5, np.float32), (np.ones((4, 3), np.float32), None))
