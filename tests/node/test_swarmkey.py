"""The swarm's key on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnae.errors import IdentityError
from learnae.node.swarmkey import create_swarm_key, find_swarm_key, key_path, read_swarm_key
from learnae.transports.keys import derive, kubo_swarm_key, network_key


def test_a_new_key_is_private_and_read_again(tmp_path: Path) -> None:
    path = key_path(tmp_path / "swarm.toml")
    assert path == tmp_path / "swarm.key"
    assert find_swarm_key(tmp_path / "swarm.toml") is None
    key = create_swarm_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_swarm_key(path) == find_swarm_key(tmp_path / "swarm.toml") == key
    with pytest.raises(IdentityError, match="left as it is"):
        create_swarm_key(path)
    assert create_swarm_key(tmp_path / "other.key") != key


@pytest.mark.parametrize(
    ("content", "mode", "line"),
    [
        (None, 0o600, "no such file.*learnae invite"),
        ("ab" * 32, 0o644, "read by others: chmod 600"),
        ("ab" * 31, 0o600, "not a swarm key"),
        ("zz" * 32, 0o600, "not a swarm key"),
        ("", 0o600, "not a swarm key"),
        ("/key/swarm/psk/1.0.0/\n/base16/\n" + "ab" * 32, 0o600, "Kubo network"),
    ],
)
def test_mistakes_have_their_cure(
    tmp_path: Path, content: str | None, mode: int, line: str
) -> None:
    path = tmp_path / "swarm.key"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(IdentityError, match=line) as caught:
        read_swarm_key(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "swarm.key").mkdir(mode=0o700)
    with pytest.raises(IdentityError, match="not a swarm key"):
        read_swarm_key(tmp_path / "swarm.key")


def test_every_purpose_has_its_own_key() -> None:
    key, swarm = bytes(32), bytes(range(32))
    derived = {derive(key, swarm, purpose) for purpose in ("object", "message", "network")}
    derived |= {network_key(bytes(range(32)), swarm), network_key(key, bytes(32)), key}
    assert len(derived) == 6
    assert network_key(key, swarm) == derive(key, swarm, "network")
    assert network_key(key, swarm).hex() in kubo_swarm_key(key, swarm)
    assert key.hex() not in kubo_swarm_key(key, swarm)
    for wrong in ((b"short", swarm), (key, b"short")):
        with pytest.raises(ValueError, match="32 bytes"):
            derive(*wrong, "object")
