"""``learnae inspect``: what a payload, announcement, charter or checkpoint contains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from learnae.cli.folders import open_to_look
from learnae.cli.formats import age, nbytes, number, print_json
from learnae.errors import AnnouncementError, CharterError, UsageError

__all__ = ["command", "describe_bytes"]

PAYLOAD_MAGIC = b"\x89LRNAE\r\n"
CHECKPOINT_MAGIC = b"\x89LRNCK\r\n"
# Looked at whole. Bytes and not a memory map: CPython 3.11 crashes when its garbage collector
# meets a view of a map in the frames of a caught exception.
MAX_OBJECT_NBYTES = 2 << 30
MAX_ELEMENTS = 1 << 33


@click.command(
    "inspect",
    short_help="What a payload, announcement, charter or checkpoint contains.",
    epilog="""\b
Examples:
  learnae inspect swarm.toml
  learnae inspect model.payload --json
  learnae inspect bafkreib... --transport directory:/mnt/shared/swarm""",
)
@click.argument("target", metavar="FILE_OR_CID")
@click.option("--transport", metavar="directory:PATH", help="Where to get an object by its CID.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(target: str, transport: str | None, as_json: bool) -> None:
    """Say what FILE_OR_CID is and what is in it. Safe on any bytes whatever."""
    path = Path(target)
    if path.is_dir():
        raise UsageError(f"{target} is a folder; for a peer's folder use: learnae status {target}")
    if path.exists():
        described = describe_file(path)
    elif transport is not None:
        described = describe_object(target, transport)
    else:
        raise UsageError(
            f"there is no file {target}; for an object give its CID and --transport directory:PATH"
        )
    if as_json:
        print_json(described)
    else:
        print_description(described)


def describe_file(path: Path) -> dict[str, Any]:
    """Return what is in the file `path`; see `describe_bytes`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_OBJECT_NBYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_OBJECT_NBYTES:
        raise UsageError(f"{path} is larger than {nbytes(MAX_OBJECT_NBYTES)}: nothing of ours is")
    return describe_bytes(data, str(path))


def describe_object(text: str, transport: str) -> dict[str, Any]:
    """Return what the object with the CID `text` is; the transport verifies it on the way."""
    from learnae.transports import cid_from_text

    try:
        cid = cid_from_text(text)
    except ValueError as error:
        raise UsageError(
            f"{text} is neither a file nor a CID (those begin with 'bafk' or 'bafy')"
        ) from error
    with open_to_look(transport) as looked_at:
        data = looked_at.get(cid, MAX_OBJECT_NBYTES, 30.0)
    return describe_bytes(bytes(data), text)


def describe_bytes(data: bytes, name: str) -> dict[str, Any]:
    """Return a description of `data`: its kind under ``kind``, and what its kind has to say.

    Raises
    ------
    HostileBytes
        If the bytes are of no known kind, or not what their first bytes promise.
    CharterError
        If they are TOML but not a charter.
    """
    if data.startswith(PAYLOAD_MAGIC):
        return describe_payload(data, name)
    if data.startswith(CHECKPOINT_MAGIC):
        return describe_checkpoint(data, name)
    if is_text(data):
        return describe_charter(data, name)
    return describe_announcement(data, name)


def is_text(data: bytes) -> bool:
    """Tell whether bytes could be a charter: short, UTF-8, and no control characters."""
    from learnae.swarm.charter import MAX_CHARTER_NBYTES

    if len(data) > MAX_CHARTER_NBYTES:
        return False
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n" for character in text)


def describe_payload(data: bytes, name: str) -> dict[str, Any]:
    """Return header and norms of a payload after verifying all of its blocks."""
    from learnae import kernels
    from learnae.transports import cid_of, cid_text

    view = kernels.payload_open(data, MAX_ELEMENTS)
    kernels.payload_verify(view)
    whole, vectors = view, []
    if view.codec in kernels.PACKED:
        whole = kernels.payload_open(kernels.payload_unpack(view), MAX_ELEMENTS)
    for vector in range(view.n_vectors):
        _, norm2 = kernels.payload_distance(whole, vector, None)
        vectors.append({"holds": ("params", "mean gradient", "?", "?")[vector], "norm": norm2**0.5})
    return {
        "kind": "payload",
        "name": name,
        "cid": cid_text(cid_of(data)),
        "codec": view.codec,
        **({"parameter": view.parameter} if view.parameter else {}),
        **({"base": cid_text(view.base)} if view.base else {}),
        "n_elements": view.n_elements,
        "n_vectors": view.n_vectors,
        "n_blocks": view.n_blocks,
        "block_length": view.block_length,
        "nbytes": view.nbytes,
        **({"packed_to": view.nbytes / whole.nbytes} if whole is not view else {}),
        "schema_digest": view.schema_digest.hex(),
        "vectors": vectors,
    }


def describe_checkpoint(data: bytes, name: str) -> dict[str, Any]:
    """Return what a checkpoint holds; its arrays by name, dtype and shape only."""
    from learnae.node.checkpoint import decode_checkpoint

    checkpoint = decode_checkpoint(data)
    arrays = {key: f"{array.dtype}{list(array.shape)}" for key, array in checkpoint.extra.items()}
    return {
        "kind": "checkpoint",
        "name": name,
        "swarm_id": checkpoint.swarm_id.hex(),
        "round": checkpoint.round,
        "saved_at": checkpoint.saved_at,
        "params": describe_payload(bytes(checkpoint.params), "params"),
        "arrays": arrays,
    }


def describe_charter(data: bytes, name: str) -> dict[str, Any]:
    """Return a charter's identity and sections."""
    from learnae.swarm.charter import parse_charter

    try:
        charter = parse_charter(data)
    except CharterError as error:
        raise CharterError(f"{name}: {error}") from error
    return {
        "kind": "charter",
        "swarm_id": charter.swarm_id.hex(),
        "topic": charter.topic,
        "name": name,
        **plain(charter.content()),
    }


def describe_announcement(data: bytes, name: str) -> dict[str, Any]:
    """Return an announcement's fields; its signature has been verified."""
    import time

    from learnae.swarm.announcement import announcement_cid, decode_announcement
    from learnae.transports import cid_text

    try:
        heard = decode_announcement(data)
    except AnnouncementError as error:
        raise AnnouncementError(
            f"{name} is not a payload, announcement, charter or checkpoint ({error})"
        ) from error
    return {
        "kind": "announcement",
        "name": name,
        "cid": cid_text(announcement_cid(data)),
        "says": str(heard.kind),
        "swarm_id": heard.swarm_id.hex(),
        "peer_id": heard.peer_id,
        "sequence": heard.sequence,
        "previous": heard.previous and cid_text(heard.previous),
        "round": heard.round,
        "payload": heard.payload and cid_text(heard.payload),
        "schema_digest": heard.schema_digest.hex(),
        "codec": heard.codec,
        "samples": heard.samples,
        "loss": heard.loss,
        "addresses": list(heard.addresses),
        "time": heard.time,
        "age": age(time.time() - heard.time),
        "signature": "valid",
    }


def plain(value: Any) -> Any:
    """Return `value` with what JSON does not know turned into text and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, int | float | str | None) else str(value)


def print_description(described: Mapping[str, Any], indent: str = "") -> None:
    """Print one line a field; what is nested comes indented."""
    width = max(len(key) for key in described)
    for key, value in described.items():
        if isinstance(value, dict) and value:
            click.echo(f"{indent}{key}")
            print_description(value, indent + "  ")
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{indent}{key}")
            for item in value:
                print_description(item, indent + "  ")
            continue
        click.echo(f"{indent}{key:<{width}}  {shown(key, value)}")


def shown(key: str, value: Any) -> str:
    """Return one value as a person wants it."""
    if value is None or value in ([], {}, ()):
        return "-"
    if key == "nbytes":
        return f"{value:,} ({nbytes(value)})"
    if isinstance(value, float):
        return number(value, 6)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return f"{value:,}" if key in ("n_elements", "samples") else str(value)
