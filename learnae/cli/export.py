"""``learnae export``: a peer's model as safetensors or npz."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from learnae.cli.folders import charter_of, charter_option, require_folder
from learnae.cli.outfile import require_free, write
from learnae.wording import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["command", "named_arrays"]


@click.command(
    "export",
    short_help="A peer's model as safetensors or npz.",
    epilog="""\b
Examples:
  learnae export home-1 model.safetensors --charter swarm.toml
  learnae export home-1 model.npz --charter swarm.toml --force""",
)
@click.argument("home", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@charter_option
@click.option("--force", is_flag=True, help="Overwrite OUT.")
def command(home: Path, out: Path, charter: Path | None, force: bool) -> None:
    """Write the newest model of HOME (a peer's folder) to OUT, a .safetensors or .npz file.

    Tensors are named by their key paths, such as ['dense']['w'].
    """
    if out.suffix not in (".safetensors", ".npz"):
        raise click.UsageError(f"{out} must end in .safetensors or .npz")
    require_free(out, force=force)
    require_folder(home)
    from learnae.node.evaluate import load_home
    from learnae.swarm.charter import dump_charter

    charter = charter_of(home, charter)
    loaded = load_home(home, charter)
    arrays = named_arrays(loaded.params)
    metadata = {
        "format": "learnae",
        "swarm": loaded.charter.swarm_id.hex(),
        "name": loaded.charter.name,
        "round": str(loaded.round),
        "charter": dump_charter(loaded.charter),
    }
    data = encode(arrays, metadata, out.suffix)
    write(out, data)
    click.echo(
        f"{out}: {count(len(arrays), 'tensor')} of round {loaded.round}, {len(data):,} bytes"
    )
    click.echo(f"Columns, their scaling and the classes are in {charter}: keep it with the model")


def named_arrays(params: Any) -> dict[str, NDArray[Any]]:
    """Return the floating-point leaves of `params` by key path, in `jax.tree` order."""
    import numpy as np

    from learnae.payload import Schema, flatten

    schema = Schema.of(params)
    vector = flatten(schema, params)
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for leaf in schema.leaves:
        stop = start + int(np.prod(leaf.shape, dtype=np.int64))
        part = vector[start:stop].reshape(leaf.shape)
        arrays[leaf.path] = part.astype(numpy_dtype(leaf.dtype))
        start = stop
    return arrays


def numpy_dtype(name: str) -> Any:
    """Return the dtype called `name`, those that only ml_dtypes knows included."""
    import numpy as np

    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))


def encode(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], suffix: str) -> bytes:
    """Return the file's bytes; npz knows no bfloat16 and gets float32 in its place."""
    if suffix == ".safetensors":
        from learnae.cli.safetensors import encode_safetensors

        return encode_safetensors(arrays, metadata)
    import numpy as np

    buffer = io.BytesIO()
    known = {
        name: array if array.dtype.kind == "f" else array.astype(np.float32)
        for name, array in arrays.items()
    }
    # A mapping, not keywords: key paths are not identifiers.
    np.savez(buffer, allow_pickle=False, **known)
    return buffer.getvalue()
