"""``learnae create``: write the charter of a new swarm from a data file."""

from __future__ import annotations

import secrets
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from learnae.cli.formats import age, warn
from learnae.errors import UsageError
from learnae.learn.optimizers import OPTIMIZERS
from learnae.wording import count

if TYPE_CHECKING:
    from learnae.cli.doubts import Doubts
    from learnae.swarm.charter import Charter, DataSection

__all__ = ["command"]

HIDDEN = [64, 64]


def parse_sizes(
    _ctx: click.Context, _parameter: click.Parameter, value: str | None
) -> list[int] | None:
    """Return ``64,64`` as a list of layer sizes; None for None."""
    if value is None:
        return None
    try:
        sizes = [int(part) for part in value.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise click.BadParameter("write sizes such as 64,64")
    return sizes


def parse_names(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> list[str]:
    """Return ``a,b,c`` as a list of names; none at all for None."""
    return [] if value is None else [part.strip() for part in value.split(",")]


def parse_options(
    _ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """Return ``name=value`` pairs, with the values as TOML writes them."""
    options: dict[str, Any] = {}
    for text in values:
        name, sign, value = text.partition("=")
        name = name.strip()
        if not sign or not name:
            raise click.BadParameter(f"write name=value, not {text!r}")
        if name in options:
            raise click.BadParameter(f"{name} is given twice")
        try:
            # One key with one item: what is more, or less, is no value.
            ((options[name],),) = tomllib.loads(f"v = [{value}\n]").values()
        except ValueError:
            raise click.BadParameter(
                f"{value!r} is no TOML value: 3, 0.5, true, [64, 64], or text in quotes, "
                f"--option '{name}=\"{value}\"'"
            ) from None
    return options


@click.command(
    "create",
    short_help="Write the charter of a new swarm.",
    epilog="""\b
Examples:
  learnae create swarm.toml --data mine.csv --label class
  learnae create swarm.toml --data mine.csv --label class --factory my_model.py:make
  learnae create swarm.toml --data mine.csv --label class --factory my_model.py:make \\
      --option width=64 --option 'activation="tanh"'
  learnae create swarm.toml --data mine.npz --label y --no-statistics --codec f32""",
)
@click.argument("charter", type=click.Path(path_type=Path))
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Your rows: CSV, CSV.gz or NPZ."
)
@click.option("--label", required=True, help="The column that holds the class.")
@click.option("--name", help="For people.  [default: the file's name]")
@click.option("--columns", callback=parse_names, help="Feature columns a,b,c.  [default: all]")
@click.option(
    "--classes", callback=parse_names, help="All classes a,b,c.  [default: those in your data]"
)
@click.option("--numeric-label", is_flag=True, help="The label is a number (own --factory).")
@click.option(
    "--no-statistics",
    is_flag=True,
    help="Do not publish your columns' means and deviations; each peer standardises by its own.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    help="Of the first params.  [default: a random one]",
)
@click.option("--factory", default="mlp", show_default=True, help="mlp, or my_model.py:make.")
@click.option("--hidden", callback=parse_sizes, help="Layers of the mlp.  [default: 64,64]")
@click.option(
    "--option",
    "options",
    multiple=True,
    callback=parse_options,
    metavar="NAME=VALUE",
    help="Of the factory; a TOML value. Repeatable.",
)
@click.option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default="adam",
    show_default=True,
)
@click.option("--learning-rate", type=float, default=1e-3, show_default=True)
@click.option("--batch", type=int, default=64, show_default=True, help="Rows a step.")
@click.option("--steps", type=int, default=20, show_default=True, help="Steps a round.")
@click.option("--rounds", type=int, default=250, show_default=True, help="Rounds of a peer.")
@click.option(
    "--min-seconds",
    type=float,
    default=0.5,
    show_default=True,
    help="Shortest round; with --rounds, how long others have to join.",
)
@click.option("--no-drift-correction", is_flag=True, help="Share params only, no mean gradients.")
@click.option(
    "--codec",
    type=click.Choice(
        ["f32", "bf16", "f16", "i8", "i8z", "i4", "i4z", "sign", "ternary", "topk", "delta"]
    ),
    default="i8",
    show_default=True,
)
@click.option("--fan-in", type=int, default=2, show_default=True, help="Models fetched a round.")
@click.option("--member", multiple=True, metavar="PEER_ID", help="Who may join.  [default: all]")
def command(charter: Path, data: Path, **asked: Any) -> None:
    """Read the header and rows of --data and write CHARTER, a file that makes a swarm.

    Everybody who joins gets the file, by hand or by an invite. It holds the names of your columns
    and classes and, unless you say --no-statistics, the mean and standard deviation of each of
    your columns. The swarm's secret key is written beside it.
    """
    if charter.exists():
        raise UsageError(f"{charter} exists and is left as it is: choose another name")
    require_model_file(charter, asked["factory"])
    from learnae.cli.doubts import Doubts
    from learnae.node.swarmkey import create_swarm_key, key_path
    from learnae.swarm.charter import dump_charter

    if key_path(charter).exists():
        raise UsageError(f"{key_path(charter)} is the key of another swarm: choose another name")

    doubts = Doubts(asked["label"])
    made = make_charter(charter, data, asked, doubts)
    untried = try_model(charter, made)
    try:
        with charter.open("x", encoding="utf-8") as file:
            file.write(dump_charter(made))
    except OSError as error:
        raise UsageError(f"cannot write {charter}: {error.strerror}") from error
    create_swarm_key(key_path(charter))
    for line in [*doubts.lines(), *untried]:
        warn(line)
    describe(charter, data, made, named=bool(asked["classes"]))


def require_model_file(charter: Path, factory: str) -> None:
    """Raise `UsageError` unless the file that `factory` names, if any, is beside `charter`."""
    file, colon, _ = factory.partition(":")
    if not colon or Path(file).name != file or (charter.parent / file).is_file():
        return  # what is no file name, the charter's own rules refuse
    raise UsageError(
        f"{file} is not beside {charter}: put it into {charter.parent.absolute()} first, "
        "since every peer looks for it next to its charter"
    )


def try_model(path: Path, charter: Charter) -> list[str]:
    """Make the charter's first params, as every peer will; return why not, where it cannot be done.

    Raises
    ------
    ModelError
        If the user's own model file is wrong, or gives nothing to train.
    """
    if charter.model.factory != "mlp" and find_spec("jax") is None:
        return [f"{charter.model.factory} was not tried, as JAX is not installed here"]
    from learnae.node.trainer import charter_model
    from learnae.payload import Schema

    Schema.of(charter_model(charter, path.parent).init(charter.seed))
    return []


def make_charter(path: Path, data: Path, asked: dict[str, Any], doubts: Doubts) -> Charter:
    """Return the charter that the options describe.

    Raises
    ------
    DataError
        If the data cannot be read.
    CharterError
        If an option's value is not allowed.
    """
    from learnae.swarm.charter import Charter, GossipSection, ModelSection, TrainingSection

    hidden = asked["hidden"]
    options = {"hidden": hidden or HIDDEN} if asked["factory"] == "mlp" else {}
    if hidden is not None and "hidden" in asked["options"]:
        raise click.UsageError("--hidden and --option hidden=... say the same: give one of them")
    options |= asked["options"]
    seed = asked["seed"]
    return Charter(
        name=asked["name"] or path.stem,
        # Two swarms that otherwise agree in everything must not meet by accident.
        seed=secrets.randbelow(2**32) if seed is None else seed,
        members=asked["member"],
        model=ModelSection(asked["factory"], options),
        data=make_data_section(data, asked, doubts),
        training=TrainingSection(
            optimizer=asked["optimizer"],
            learning_rate=asked["learning_rate"],
            batch=asked["batch"],
            steps=asked["steps"],
            rounds=asked["rounds"],
            min_seconds=asked["min_seconds"],
            drift_correction=not asked["no_drift_correction"],
        ),
        gossip=GossipSection(codec=asked["codec"], fan_in=asked["fan_in"]),
    )


def make_data_section(data: Path, asked: dict[str, Any], doubts: Doubts) -> DataSection:
    """Return columns, classes and, unless they are not wanted, statistics of the file `data`."""
    from dataclasses import replace

    from learnae.cli.discover import find_classes, find_columns
    from learnae.learn.tabular import iterate_table, table_moments
    from learnae.swarm.charter import DataSection

    label = asked["label"]
    classes: tuple[str, ...] = tuple(asked["classes"])
    if asked["numeric_label"]:
        if asked["factory"] == "mlp" or classes:
            raise click.UsageError("--numeric-label needs your own --factory, and no --classes")
    elif not classes:
        classes = find_classes(data, label)
    columns = tuple(asked["columns"]) or tuple(n for n in find_columns(data) if n != label)
    section = DataSection(label=label, columns=columns, classes=classes)
    # Also without statistics: rows that cannot be read are better found now than in join.
    moments = table_moments(doubts.look_at(iterate_table(data, section)))
    if asked["no_statistics"]:
        return section
    return replace(section, mean=tuple(moments.mean.tolist()), std=tuple(moments.std.tolist()))


def describe(path: Path, data: Path, charter: Charter, *, named: bool) -> None:
    """Say what was written, what becomes public by it, and what comes next."""
    section = charter.data
    columns = count(len(section.columns), "column")
    click.echo(f"{path}: swarm {charter.name!r}, id {charter.swarm_id.hex()[:16]}")
    if section.classes:
        hint = "" if named else " (found in your data; if others have more, use --classes)"
        shown = ", ".join(section.classes[:12]) + (", ..." if len(section.classes) > 12 else "")
        click.echo(f"{columns}, classes {shown}{hint}")
    else:
        click.echo(f"{columns}, {section.label!r} is a number to predict")
    if section.mean is None:
        click.echo("The charter holds no statistics: every peer standardises by its own.")
    else:
        click.echo(
            f"Mean and standard deviation of each column, {2 * len(section.mean)} numbers computed "
            f"from {data}, are in the charter: everybody who gets the file can read them. "
            "--no-statistics leaves them out."
        )
    training = charter.training
    if training.min_seconds > 0:
        least = age(training.rounds * training.min_seconds)
        rounds = count(training.rounds, "round")
        click.echo(f"At least {least} for {rounds}: others should join within that time")
    click.echo(f"{path.with_suffix('.key')}: the swarm's secret key, for peers on other machines")
    click.echo(f"Next, on this machine: learnae join {path} --data FILE")
    click.echo("and for every further peer the same with its own --data and --home")
    click.echo(f"With other machines: learnae ipfs up {path}, then learnae invite {path}")
