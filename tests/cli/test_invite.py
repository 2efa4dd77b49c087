"""Invites on the command line: mistakes end in one line, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from learnae.cli import main
from learnae.cli.join import invite_in
from learnae.node.swarmkey import create_swarm_key
from learnae.swarm import Charter, dump_charter
from learnae.swarm.invite import Invite, encode_invite

INVITE = encode_invite(
    Invite(b"s" * 32, b"\x01\x55\x12\x20" + b"c" * 32, b"k" * 32, ("/ip4/192.0.2.1/tcp/4001",))
)


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user an empty data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("invite", "options", "line"),
    [
        (INVITE[:-4], (), "damaged or cut short"),
        ("learnae9_" + INVITE[9:], (), "version 9"),
        (INVITE, ("--transport", "directory:x"), "leads to an IPFS daemon"),
    ],
)
def test_an_invite_that_will_not_do(
    own_data: Path, invite: str, options: tuple[str, ...], line: str
) -> None:
    arguments = ["join", invite, "--data", "mine.csv", *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    (error,) = [text for text in result.output.splitlines() if text.startswith("error:")]
    assert line in error
    assert not own_data.exists()


def test_an_invite_in_a_file(own_data: Path, tmp_path: Path) -> None:
    """Where other users must not see it among the arguments of a running command."""
    file = tmp_path / "invite.txt"
    for content, line in ((INVITE + "\n", "leads to an IPFS daemon"), (INVITE[:-4], "cut short")):
        file.write_text(content)
        arguments = ["join", str(file), "--data", "mine.csv", "--transport", "directory:x"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1
        assert line in result.output
        assert INVITE[:40] not in result.output
    file.write_text("# a charter with learnae1_ in it\n")
    assert invite_in(file) is None
    assert invite_in(tmp_path / "learnae1_.toml") is None
    assert invite_in(tmp_path) is None
    assert not own_data.exists()


def test_no_daemon_no_invite(tmp_path: Path) -> None:
    charter = tmp_path / "swarm.toml"
    charter.write_text(dump_charter(Charter(name="ours")))
    create_swarm_key(tmp_path / "swarm.key")
    result = CliRunner().invoke(main, ["invite", str(charter)])
    assert result.exit_code == 1
    assert f"learnae ipfs up {charter}" in result.output


def test_create_makes_a_key_and_never_overwrites_one(tmp_path: Path) -> None:
    data = tmp_path / "mine.csv"
    data.write_text("a,b,kind\n1,2,red\n2,3,blue\n3,5,red\n")
    arguments = ["create", str(tmp_path / "swarm.toml"), "--data", str(data), "--label", "kind"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    key = tmp_path / "swarm.key"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    (tmp_path / "swarm.toml").unlink()
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "key of another swarm" in result.output
    assert key.read_bytes() == before
    assert not (tmp_path / "swarm.toml").exists()


def test_an_invite_longer_than_a_file_name() -> None:
    text = "learnae1_" + "a" * 500
    assert invite_in(Path(text)) == text
