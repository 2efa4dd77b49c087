"""Where this user's peers are, and how a command that is no peer looks at things."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from learnae.errors import UsageError

if TYPE_CHECKING:
    from learnae.node.access import Access
    from learnae.transports import Transport

__all__ = [
    "charter_of",
    "charter_option",
    "default_homes",
    "known_homes",
    "open_to_look",
    "require_folder",
]

OBSERVER = "observer"

# Of commands that look at a peer; `charter_of` finds the default.
charter_option = click.option(
    "--charter",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The swarm's charter.  [default: swarm.toml, here or beside the peer's folder]",
)


def default_homes() -> Path:
    """Return the folder that holds the folders of peers that were not told where to live."""
    import platformdirs

    return platformdirs.user_data_path("learnae")


def known_homes() -> list[Path]:
    """Return the folders of this user's peers that were not told where to live, sorted."""
    return sorted(path.parent for path in default_homes().glob("*/peer/status.json"))


def charter_of(home: Path, given: Path | None) -> Path:
    """Return the charter of the peer in `home`: `given`, or where commands leave it.

    That is the working folder (`learnae create`), or else beside the peer's folder (an invite).

    Raises
    ------
    UsageError
        If none was given and none is there.
    """
    if given is not None:
        return given
    for place in (Path("swarm.toml"), home.parent / "swarm.toml", home / "swarm.toml"):
        if place.is_file():
            return place
    raise UsageError(
        f"there is no swarm.toml here nor beside {home}: give the charter that the peer joined "
        "with (--charter)"
    )


def require_folder(home: Path) -> None:
    """Raise `UsageError` if the peer folder `home` is not there at all."""
    if not home.is_dir():
        raise UsageError(
            f"the folder {home} does not exist: give the folder of a peer that has trained"
        )


@contextlib.contextmanager
def open_to_look(
    address: str, access: Access | None = None, *, must_exist: bool = True
) -> Iterator[Transport]:
    """Open a transport as nobody in particular, without leaving a trace in it.

    Parameters
    ----------
    access
        What opens what is sealed; None for who has no key.

    Raises
    ------
    UsageError
        If `address` is not understood or, with `must_exist`, names a folder that is not there.
    """
    from learnae.node.access import open_swarm_transport
    from learnae.transports import open_transport

    scheme, _, path = address.partition(":")
    folder = Path(path).expanduser()
    if must_exist and scheme == "directory" and path and not folder.is_dir():
        raise UsageError(
            f"{path} is not a folder: no peer has used this transport yet; check the path"
        )
    if access is None:
        transport = open_transport(address, OBSERVER)
    else:
        transport = open_swarm_transport(address, OBSERVER, access)
    try:
        yield transport
    finally:
        transport.close()
        # Opening makes a place for one's own objects. An observer stores none, and the folder
        # would look like a peer's.
        for part in ("objects", "partial") if scheme == "directory" else ():
            with contextlib.suppress(OSError):
                (folder / part / OBSERVER).rmdir()
