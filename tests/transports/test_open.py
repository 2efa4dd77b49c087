"""Addresses of transports, and what a mistake in one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnae.errors import TransportError, UsageError
from learnae.transports import DirectoryTransport, Transport, open_transport


def test_directory(tmp_path: Path) -> None:
    transport = open_transport(f"directory:{tmp_path}/new/folder", "ann")
    assert isinstance(transport, DirectoryTransport)
    assert isinstance(transport, Transport)
    assert (tmp_path / "new" / "folder" / "objects" / "ann").is_dir()


def test_path_with_colon_and_space(tmp_path: Path) -> None:
    open_transport(f"directory:{tmp_path}/a: b", "ann")
    assert (tmp_path / "a: b" / "objects" / "ann").is_dir()


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("", "write directory:PATH"),
        ("directory:", "names no folder"),
        ("directory", "names no folder"),
        ("directroy:/tmp/x", "did you mean directory"),
        ("/tmp/x", "write directory:PATH"),
        ("memory:", "MemoryNetwork"),
        ("http://example.org", "write directory:PATH"),
    ],
)
def test_mistakes(address: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint) as caught:
        open_transport(address, "ann")
    assert "\n" not in str(caught.value)


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TransportError, match=r"file.*remove the file that is in the way"):
            open_transport(f"directory:{path}", "ann")
