"""Inviting another machine, through two real daemons that do not know each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kubo import need_kubo
from learnae.errors import CharterError, TransportError, UsageError
from learnae.node import kubo as daemons
from learnae.node.access import Access, open_swarm_transport
from learnae.node.invite import accept_invite, bring_up, make_invite
from learnae.node.places import default_repo
from learnae.node.swarmkey import create_swarm_key, find_swarm_key, key_path
from learnae.swarm import Charter, dump_charter, parse_charter
from learnae.swarm.invite import Invite, decode_invite
from learnae.transports import MemoryNetwork, cid_text
from learnae.transports.keys import kubo_swarm_key
from learnae.transports.seam import Nodes

CHARTER = Charter(name="invited")


@pytest.fixture(scope="module")
def inviter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Return a charter's file with its key beside it, and the transport of a running daemon."""
    need_kubo()
    folder = tmp_path_factory.mktemp("inviter")
    charter = folder / "swarm.toml"
    charter.write_text(dump_charter(CHARTER) + "# a comment that travels too\n")
    key = create_swarm_key(key_path(charter))
    text = kubo_swarm_key(key, CHARTER.swarm_id)
    options = daemons.RepoOptions(swarm_key_text=text, listen=(daemons.LOOPBACK,))
    daemons.init_repo(folder / "ipfs", options)
    daemons.start_daemon(folder / "ipfs")
    yield charter, f"ipfs:{folder / 'ipfs'}"
    daemons.stop_daemon(folder / "ipfs")


@pytest.fixture
def second_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder that holds all data of a user who has never seen the swarm."""
    need_kubo()
    # The cache, where the binary is, stays this user's own.
    monkeypatch.setenv("LEARNAE_KUBO", str(daemons.find_binary()))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    yield tmp_path
    daemons.stop_daemon(default_repo(CHARTER.swarm_id))


def test_an_invite_is_all_that_is_needed(inviter: tuple[Path, str], second_machine: Path) -> None:
    charter, transport = inviter
    text = make_invite(charter, transport)
    assert make_invite(charter, transport) == text, "inviting again stores nothing new"
    invite = decode_invite(text)
    assert invite.swarm_id == CHARTER.swarm_id
    folder = second_machine / "mine"
    taken = accept_invite(invite, folder)
    assert taken.read_bytes() == charter.read_bytes()
    assert find_swarm_key(taken) == find_swarm_key(charter)
    assert key_path(taken).stat().st_mode & 0o777 == 0o600
    # Once there, it is taken without any network.
    nowhere = replace(invite, addresses=())
    assert accept_invite(nowhere, folder, transport="ipfs:/nowhere", deadline_s=0.1) == taken
    # The newcomer can invite further.
    repo = default_repo(CHARTER.swarm_id)
    again = decode_invite(make_invite(taken, f"ipfs:{repo}"))
    assert again.charter == invite.charter
    assert again.addresses != invite.addresses
    meet(inviter, invite, f"ipfs:{repo}")


def meet(inviter: tuple[Path, str], invite: Invite, transport: str) -> None:
    """Let a member on each side hear the other, sealed; and look as somebody without the key."""
    access = Access(invite.swarm_id, invite.key)
    here = open_swarm_transport(inviter[1], "ann", access)
    there = open_swarm_transport(transport, "bob", access)
    spy = open_swarm_transport(inviter[1], "spy", Access(invite.swarm_id, None, unsealed=True))
    try:
        cid = here.put(b"a model")
        assert there.get(cid, 100, 20.0) == b"a model"
        assert b"a model" not in bytes(spy.get(cid, 1000, 20.0))
        assert isinstance(here, Nodes) and isinstance(there, Nodes) and isinstance(spy, Nodes)
        node = here.put_node(b"an announcement")
        with pytest.raises(TransportError):
            spy.get_node(node, 1.0)
    finally:
        for peer in (here, there, spy):
            peer.close()


def test_a_key_that_a_crash_has_cut_short_is_put_aside(
    inviter: tuple[Path, str], second_machine: Path
) -> None:
    """Its own message says: ask for an invite. Then an invite has to help."""
    invite = decode_invite(make_invite(*inviter))
    folder = second_machine / "mine"
    folder.mkdir()
    (folder / "swarm.key").write_text("0123")
    (folder / "swarm.key").chmod(0o600)
    taken = accept_invite(invite, folder)
    assert find_swarm_key(taken) == invite.key
    assert (folder / "swarm.key.old").read_text() == "0123"


def test_a_charter_that_is_not_the_swarms_is_refused(
    inviter: tuple[Path, str], second_machine: Path
) -> None:
    charter, transport = inviter
    invite = decode_invite(make_invite(charter, transport))
    access = Access(invite.swarm_id, invite.key)
    store = open_swarm_transport(transport, "liar", access)
    other = store.put(dump_charter(Charter(name="other")).encode())
    nonsense = store.put(b"[[[")
    store.close()
    for cid, line in ((other, "another swarm's"), (nonsense, "not valid TOML")):
        with pytest.raises(CharterError, match=line):
            accept_invite(replace(invite, charter=cid), second_machine / "mine")
        assert not (second_machine / "mine").exists()
    assert parse_charter(charter.read_bytes()) == CHARTER


def test_nobody_there(inviter: tuple[Path, str], second_machine: Path) -> None:
    invite = decode_invite(make_invite(*inviter))
    lost = replace(invite, charter=b"\x01\x55\x12\x20" + bytes(32))
    with pytest.raises(TransportError, match=r"could be reached at /ip4/127\.0\.0\.1.*firewall"):
        accept_invite(lost, second_machine / "mine", deadline_s=0.5)
    assert bring_up(invite).startswith("ipfs:")


def test_a_daemon_that_went_away_is_not_asked_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    away = MemoryNetwork(seed=1).endpoint("away")

    def get(cid: bytes, max_nbytes: int, deadline_s: float) -> memoryview:
        asked.append(cid)
        raise TransportError("no IPFS daemon answers")

    monkeypatch.setattr(away, "get", get)
    monkeypatch.setattr("learnae.node.invite.open_swarm_transport", lambda *_: away)
    invite = Invite(CHARTER.swarm_id, b"\x01\x55\x12\x20" + bytes(32), bytes(32), ())
    with pytest.raises(TransportError, match="no IPFS daemon answers"):
        accept_invite(invite, tmp_path, transport="ipfs:x", deadline_s=0.5)
    assert 1 <= len(asked) <= 4


def test_no_key_no_invite(inviter: tuple[Path, str], tmp_path: Path) -> None:
    charter = tmp_path / "swarm.toml"
    charter.write_text(dump_charter(CHARTER))
    with pytest.raises(UsageError, match=r"swarm\.key: no such file.*nobody can be invited"):
        make_invite(charter, inviter[1])
    with pytest.raises(UsageError, match=r"sealed with the swarm's key.*--unsealed"):
        open_swarm_transport(inviter[1], "x", Access(CHARTER.swarm_id, None, key_path(charter)))


def test_a_plain_chain_is_shown_by_ipfs_itself(inviter: tuple[Path, str]) -> None:
    """Unsealed, `ipfs dag get` shows an announcement, and follows its links."""
    import json
    import subprocess

    from node.test_history import publish, session

    _, transport = inviter
    peer = open_swarm_transport(transport, "open", Access(CHARTER.swarm_id, None, unsealed=True))
    try:
        ann = session(peer, "ann")
        publish(ann, 1)
        publish(ann, 2)
        head = ann.peer.published[-1], ann.peer.head
        from learnae.swarm.announcement import announcement_cid

        assert head[1] is not None
        name = cid_text(announcement_cid(head[1]))
        command = [str(daemons.find_binary()), "dag", "get"]
        environment = {"IPFS_PATH": transport.removeprefix("ipfs:"), "IPFS_TELEMETRY": "off"}

        def dag_get(path: str) -> dict[str, object]:
            done = subprocess.run(
                [*command, path], env=environment, check=True, capture_output=True, text=True
            )
            return dict(json.loads(done.stdout))

        shown = dag_get(name)
        assert shown["payload"] == {"/": cid_text(head[0])}
        assert shown["round"] == 2
        assert dag_get(f"{name}/previous")["round"] == 1
    finally:
        peer.close()
