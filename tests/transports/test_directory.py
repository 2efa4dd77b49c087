"""The directory transport: the contract, and a shared folder with anything in it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transports.contract import TOPIC, Harness, TransportContract, sample

from learnae.errors import NotFound, TransportError
from learnae.transports import DirectoryTransport, Transport, cid_of, cid_text
from learnae.transports.atomic import explain
from learnae.transports.directory import KEEP_MESSAGES

NOBODY = 65534
FOLDER = TOPIC.replace("/", "%2F")


class DirectoryHarness:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, name: str) -> Transport:
        return DirectoryTransport(self.path, name)

    def damage(self, owner: str, cid: bytes) -> None:
        flip(self.path / "objects" / owner / cid_text(cid))


def flip(path: Path) -> None:
    """Replace a file by one with a bit flipped, as another inode: maps of the old one live on."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


class TestDirectory(TransportContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return DirectoryHarness(tmp_path / "shared")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "shared"


def test_disk_is_bounded(shared: Path) -> None:
    ann = DirectoryTransport(shared, "ann")
    for i in range(50):
        ann.put(b"%d" % i)
        for cid in ann.owned()[:-3]:
            ann.drop(cid)
        ann.publish(TOPIC, b"%d" % i)
    assert len(list((shared / "objects" / "ann").iterdir())) == 3
    assert len(list((shared / "announcements" / FOLDER / "ann").iterdir())) == KEEP_MESSAGES
    assert list((shared / "partial" / "ann").iterdir()) == []


def test_messages_left_by_a_killed_process_are_tidied_up(shared: Path) -> None:
    DirectoryTransport(shared, "ann").publish(TOPIC, b"")
    folder = shared / "announcements" / FOLDER / "ann"
    for i in range(2, 30):
        (folder / f"{i:016x}").write_bytes(b"%d" % i)
    (folder / ("f" * 16)).write_bytes(b"not a counter: no next one would exist")
    DirectoryTransport(shared, "ann").publish(TOPIC, b"newest")
    names = sorted(path.name for path in folder.iterdir())
    assert names[-2] == f"{30:016x}"
    assert len(names) == KEEP_MESSAGES + 1
    assert DirectoryTransport(shared, "bob").subscribe(TOPIC).take()[-1] == b"newest"


def test_partial_files_of_the_dead_are_swept_and_of_the_living_not(shared: Path) -> None:
    DirectoryTransport(shared, "ann")
    DirectoryTransport(shared, "bob")
    dead = shared / "partial" / "ann" / f".partial-{os.getpid()}-0-0"
    alive = shared / "partial" / "ann" / ".partial-1-0-1"
    others = shared / "partial" / "bob" / ".partial-1-0-1"
    for path in (dead, alive, others):
        path.write_bytes(b"x")
    dead.chmod(0o444)
    with open(alive, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        DirectoryTransport(shared, "ann")
        assert not dead.exists()
        assert alive.exists()
    DirectoryTransport(shared, "ann")
    assert not alive.exists()
    assert others.exists()


def test_a_sweep_at_the_worst_moment_loses_nothing(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = DirectoryTransport(shared, "ann")
    real = fcntl.flock
    swept = []

    def sweep_first(fd: int, operation: int) -> None:
        # What another process does between our open() and our flock().
        if not swept:
            swept.extend((shared / "partial" / "ann").iterdir())
            for path in swept:
                path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    cid = ann.put(b"model")
    assert len(swept) == 1
    assert ann.get(cid, 10, 1.0) == b"model"


def test_folders_removed_under_a_running_peer(shared: Path) -> None:
    ann, bob = DirectoryTransport(shared, "ann"), DirectoryTransport(shared, "bob")
    heard = bob.subscribe(TOPIC)
    ann.publish(TOPIC, b"1")
    assert heard.take() == [b"1"]
    subprocess.run(["rm", "-r", str(shared)], check=True)
    assert ann.owned() == []
    assert heard.take() == []
    ann.publish(TOPIC, b"2")
    assert bob.get(ann.put(b"model"), 10, 1.0) == b"model"
    assert heard.take() == [b"2"]


def test_a_whole_copy_is_found_behind_a_damaged_one(shared: Path) -> None:
    peers = [DirectoryTransport(shared, name) for name in ("ann", "bob", "eve")]
    cid = peers[0].put(sample(1000))
    peers[1].put(sample(1000))
    flip(shared / "objects" / "ann" / cid_text(cid))
    assert peers[2].get(cid, 1000, 1.0) == sample(1000)


def test_a_damaged_object_of_ones_own_is_removed_and_can_be_put_again(shared: Path) -> None:
    ann, bob = DirectoryTransport(shared, "ann"), DirectoryTransport(shared, "bob")
    cid = ann.put(sample(1000))
    path = shared / "objects" / "ann" / cid_text(cid)
    flip(path)
    with pytest.raises(TransportError, match="does not hold the bytes"):
        bob.get(cid, 1000, 1.0)
    assert path.exists(), "what others store is theirs"
    assert ann.put(sample(1000)) == cid
    assert bob.get(cid, 1000, 1.0) == sample(1000)
    flip(path)
    with pytest.raises(TransportError, match="does not hold the bytes"):
        ann.get(cid, 1000, 1.0)
    assert not path.exists()


def plant(folder: Path, names: list[str]) -> None:
    """Fill a folder with one of everything that is no regular file of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"x" * 100_000),
    ]
    for kind, name in zip(kinds, names, strict=True):
        kind(folder / name)


def test_odd_files_of_hostile_others(shared: Path) -> None:
    ann, bob = DirectoryTransport(shared, "ann"), DirectoryTransport(shared, "bob")
    heard = bob.subscribe(TOPIC)
    topic = shared / "announcements" / FOLDER
    plant(topic / "eve", [f"{i:016x}" for i in range(6)])
    for i, name in enumerate(("..x", "-rf", "new\nline", "ü", "x" * 200, "%2e%2e", "file", "link")):
        if name == "file":
            (topic / name).write_bytes(b"x")
        elif name == "link":
            (topic / name).symlink_to("/")
        else:
            (topic / name).mkdir()
            (topic / name / f"{i:016x}").write_bytes(b"from nobody")
    os.mkdir(os.fsencode(topic) + b"/\xff\xfe")
    for odd in ("abc", "0" * 17, "..", "000000000000000G"):
        if odd != "..":
            (topic / "eve" / odd).write_bytes(b"odd")
    ann.publish(TOPIC, b"from ann")
    messages = heard.take()
    assert b"from ann" in messages
    assert set(messages) <= {b"from ann", b""}, "too large or special files count as empty"
    assert heard.take() == []

    cids = [cid_of(b"%d" % i) for i in range(6)]
    plant(shared / "objects" / "eve", [cid_text(cid) for cid in cids])
    (shared / "objects" / "link").symlink_to("/etc")
    os.mkdir(os.fsencode(shared) + b"/objects/\xff\xfe")
    for cid in cids:
        with pytest.raises(TransportError):
            bob.get(cid, 50_000, 1.0)
    for i, cid in enumerate(cids):
        assert ann.put(b"%d" % i) == cid
        assert bob.get(cid, 50_000, 1.0) == b"%d" % i
    assert DirectoryTransport(shared, "eve").owned() == [cids[5]]


def test_linked_folders_are_not_read_through(shared: Path, tmp_path: Path) -> None:
    bob = DirectoryTransport(shared, "bob")
    heard = bob.subscribe(TOPIC)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{1:016x}").write_bytes(b"from outside")
    (outside / cid_text(cid_of(b"outside"))).write_bytes(b"outside")
    (shared / "announcements" / FOLDER).mkdir()
    (shared / "announcements" / FOLDER / "link").symlink_to(outside)
    (shared / "objects" / "link").symlink_to(outside)
    assert heard.take() == []
    with pytest.raises(NotFound):
        bob.get(cid_of(b"outside"), 100, 1.0)


def test_linked_folders_are_not_written_through(shared: Path, tmp_path: Path) -> None:
    for planted in ("objects", "partial"):
        target = tmp_path / f"precious-{planted}"
        target.mkdir()
        (target / ".partial-1-1-1").write_bytes(b"not ours to sweep")
        link = tmp_path / planted / planted / "ann"
        link.parent.mkdir(parents=True)
        link.symlink_to(target)
        with pytest.raises(TransportError, match="symbolic link"):
            DirectoryTransport(tmp_path / planted, "ann")
        assert len(list(target.iterdir())) == 1
    target = tmp_path / "precious-topic"
    target.mkdir()
    (target / f"{1:016x}").write_bytes(b"x")
    ann = DirectoryTransport(shared, "ann")
    (shared / "announcements" / FOLDER).mkdir()
    (shared / "announcements" / FOLDER / "ann").symlink_to(target)
    with pytest.raises(TransportError, match="symbolic link"):
        ann.publish(TOPIC, b"")
    assert len(list(target.iterdir())) == 1


def test_flood_of_files_is_bounded(shared: Path) -> None:
    bob = DirectoryTransport(shared, "bob")
    heard = bob.subscribe(TOPIC)
    folder = shared / "announcements" / FOLDER / "eve"
    folder.mkdir(parents=True)
    for i in range(2000):
        (folder / f"{i:016x}").touch()
    assert len(heard.take()) == 64


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "-x", ".x", "x" * 101, "a\n", "ü"])
def test_impossible_names(shared: Path, name: str) -> None:
    with pytest.raises(ValueError, match="folder name"):
        DirectoryTransport(shared, name)
    assert not shared.exists()


class TestPermissions:
    @pytest.fixture(autouse=True)
    def unprivileged(self, tmp_path: Path) -> object:
        """Root may write anywhere: be nobody for a while."""
        if os.geteuid() != 0:
            yield
            return
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o755)
        (tmp_path / "own").mkdir()
        os.chown(tmp_path / "own", NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o555) if os.geteuid() != NOBODY else None
        with pytest.raises(TransportError, match=r"shared.*permission denied.*chmod") as caught:
            DirectoryTransport(tmp_path / "shared", "ann")
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)

    def test_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        path = tmp_path / "own" / "shared"
        transport = DirectoryTransport(path, "ann")
        (path / "partial" / "ann").chmod(0o500)
        with pytest.raises(TransportError, match=r"partial.*permission denied.*chmod"):
            DirectoryTransport(path, "ann")
        with pytest.raises(TransportError, match=r"permission denied.*chmod"):
            transport.put(b"x")
        (path / "partial" / "ann").chmod(0o700)
        cid = transport.put(b"x")
        (path / "objects" / "ann" / cid_text(cid)).chmod(0)
        with pytest.raises(TransportError, match=r"permission denied"):
            transport.get(cid, 10, 1.0)
        (path / "objects" / "ann").chmod(0o500)
        with pytest.raises(TransportError, match=r"remove.*permission denied"):
            transport.drop(cid)
        (path / "objects" / "ann").chmod(0)
        with pytest.raises(TransportError, match=r"list.*permission denied"):
            transport.owned()
        (path / "objects" / "ann").chmod(0o700)

    def test_read_only_objects_can_be_swept_and_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "own" / "shared"
        ann = DirectoryTransport(path, "ann")
        leftover = path / "partial" / "ann" / ".partial-1-1-1"
        leftover.write_bytes(b"x")
        leftover.chmod(0o444)
        cid = ann.put(b"x")
        assert ann.put(b"x") == cid
        again = DirectoryTransport(path, "ann")
        assert not leftover.exists()
        again.drop(cid)
        assert again.owned() == []


LIMITED = """
import resource, sys
from learnae.errors import TransportError
from learnae.transports import DirectoryTransport

transport = DirectoryTransport(sys.argv[1], "ann")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    transport.put(bytes(1_000_000))
except TransportError as error:
    print(error)
assert transport.get(transport.put(bytes(50_000)), 50_000, 1.0) == bytes(50_000)
"""


def test_file_that_cannot_be_finished(shared: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(shared)], capture_output=True, text=True, check=True
    )
    assert str(shared) in done.stdout
    assert "ulimit -f" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list((shared / "partial" / "ann").iterdir()) == []
    assert len(list((shared / "objects" / "ann").iterdir())) == 1


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EACCES, "chmod"),
        (errno.EIO, "input/output error"),
    ],
)
def test_failures_in_plain_words(number: int, cure: str) -> None:
    line = explain(OSError(number, os.strerror(number)), "write", "/some/path")
    assert line.startswith("cannot write /some/path: ")
    assert cure in line
    assert "\n" not in line


def test_disk_full(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = DirectoryTransport(shared, "ann")
    kept = ann.put(b"kept")
    real = os.write

    def full_after_some(fd: int, data: memoryview) -> int:
        if len(data) < 500_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data[:300_000])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_after_some)
        with pytest.raises(TransportError, match=r"no space left.*free some space"):
            ann.put(sample(1_000_000))
        with pytest.raises(TransportError, match=r"no space left.*free some space"):
            ann.publish(TOPIC, b"x")
    assert list((shared / "partial" / "ann").iterdir()) == []
    assert ann.owned() == [kept]
    ann.publish(TOPIC, b"y")
    assert DirectoryTransport(shared, "bob").subscribe(TOPIC).take() == [b"y"]
