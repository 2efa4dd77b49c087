"""``learnae doctor`` on this machine's own parts: each seeded fault is named, with its cure."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli.test_mistakes import CHARTER
from click.testing import CliRunner
from swarm.actors import identity

from learnae.cli import main
from learnae.cli.doctor import command
from learnae.node.home import Home
from learnae.payload import Schema
from learnae.swarm import Announcement, Charter, Kind, dump_charter, encode_announcement
from learnae.swarm.trust import Identity, short
from learnae.transports import DirectoryTransport


class Patient:
    """A charter, a home and a shared folder; a test then spoils one thing."""

    def __init__(self, folder: Path) -> None:
        self.charter = folder / "swarm.toml"
        self.home = folder / "home"
        self.shared = folder / "shared"
        self.write(CHARTER)
        with Home.open(self.home, swarm_id=CHARTER.swarm_id) as home:
            self.peer_id = home.identity.peer_id

    def write(self, charter: Charter) -> None:
        self.charter.write_text(dump_charter(charter))

    @property
    def options(self) -> list[str]:
        where = ["--transport", f"directory:{self.shared}"]
        return [str(self.charter), "--home", str(self.home), *where]

    def ask(self, listen_s: float = 0.0) -> list[dict[str, str]]:
        """Return the findings."""
        done = CliRunner().invoke(
            main,
            ["doctor", *self.options, "--listen", str(listen_s), "--json"],
        )
        document: dict[str, Any] = json.loads(done.output)
        assert done.exit_code == (1 if document["faults"] else 0), done.output
        return list(document["findings"])

    def fault(self, listen_s: float = 0.0) -> tuple[str, str]:
        """Return part and line of the one fault that there is."""
        (found,) = (f for f in self.ask(listen_s) if f["verdict"] == "fault")
        return found["part"], found["line"]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


def announce(
    patient: Patient, number: int | Identity, *, payload: bytes | None, skew_s: float = 0.0
) -> None:
    """Say something as a peer, which may then have put nothing in the store."""
    import time

    from learnae.node.trainer import charter_model

    model = charter_model(CHARTER, patient.charter.parent)
    them = identity(number) if isinstance(number, int) else number
    said = Announcement(
        swarm_id=CHARTER.swarm_id,
        peer_id=them.peer_id,
        sequence=1,
        previous=None,
        kind=Kind.WEIGHTS if payload is not None else Kind.HELLO,
        round=7,
        payload=payload,
        schema_digest=Schema.of(model.init(CHARTER.seed)).digest,
        codec=CHARTER.gossip.codec,
        samples=10 if payload is not None else 0,
        loss=None,
        addresses=(),
        time=time.time() + skew_s,
    )
    transport = DirectoryTransport(patient.shared, them.peer_id)
    transport.publish(CHARTER.topic, encode_announcement(said, them))
    transport.close()


def test_a_healthy_peer(patient: Patient) -> None:
    other = DirectoryTransport(patient.shared, identity(1).peer_id)
    announce(patient, 1, payload=other.put(b"x" * 100))
    findings = patient.ask()
    lines = {f["part"]: f["line"] for f in findings}
    assert {f["verdict"] for f in findings} == {"good"}
    assert short(patient.peer_id) in lines["key"]
    assert short(identity(1).peer_id) in lines["others"]
    assert "round 7" in lines["models"] and "100 bytes" in lines["models"]
    other.close()


def test_oneself_is_nobody_else(patient: Patient) -> None:
    with Home.open(patient.home, swarm_id=CHARTER.swarm_id) as home:
        announce(patient, home.identity, payload=None)
    lines = {f["part"]: f["line"] for f in patient.ask()}
    assert "nobody else heard" in lines["others"]


def test_nothing_is_left_behind(patient: Patient) -> None:
    patient.ask()
    assert [path for path in patient.shared.rglob("*") if path.is_file()] == []
    assert list((patient.shared / "objects").iterdir()) == []
    names = {path.name for path in patient.home.iterdir()}
    assert names == {"key", "swarm", "lock"}


def test_a_peer_that_has_not_begun(patient: Patient) -> None:
    for path in patient.home.iterdir():
        path.unlink()
    patient.home.rmdir()
    notes = {f["part"]: f["line"] for f in patient.ask() if f["verdict"] == "note"}
    assert "joining makes one" in notes["key"] and "nobody else heard" in notes["others"]
    assert not patient.home.exists()


def test_no_charter(patient: Patient) -> None:
    patient.charter.unlink()
    part, line = patient.fault()
    assert part == "charter" and "learnae create" in line


def test_a_mistyped_charter(patient: Patient) -> None:
    patient.charter.write_text(patient.charter.read_text().replace("steps", "stepps"))
    part, line = patient.fault()
    assert part == "charter" and "steps" in line


def test_another_swarms_home(patient: Patient) -> None:
    patient.write(dataclasses.replace(CHARTER, name="theirs"))
    part, line = patient.fault()
    assert part == "key" and "another folder" in line


def test_a_key_that_others_can_read(patient: Patient) -> None:
    (patient.home / "key").chmod(0o644)
    part, line = patient.fault()
    assert part == "key" and "chmod 600" in line


def test_not_a_member(patient: Patient) -> None:
    (patient.home / "swarm").unlink()
    patient.write(dataclasses.replace(CHARTER, members=(identity(1).peer_id,)))
    part, line = patient.fault()
    assert part == "key" and patient.peer_id in line and "ask for a charter" in line


def test_a_board_without_a_battery(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnae.node.doctor.time.time", lambda: 86_400.0)
    part, line = patient.fault()
    assert part == "clock" and "1970" in line and "set-ntp" in line


def test_a_clock_that_the_others_contradict(patient: Patient) -> None:
    for number in (1, 2):
        announce(patient, number, payload=None, skew_s=400 * 86_400.0)
    faults = [f for f in patient.ask() if f["verdict"] == "fault"]
    assert faults[0]["part"] == "others' clocks" and "set-ntp" in faults[0]["line"]


def test_a_full_disk(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnae.node.doctor.LEAST_FREE_NBYTES", 1 << 62)
    part, line = patient.fault()
    assert part == "disk" and "free some space" in line


def test_a_store_that_cannot_be_written(patient: Patient) -> None:
    patient.shared.write_bytes(b"in the way")
    part, line = patient.fault()
    assert part == "transport" and "in the way" in line


def test_a_model_out_of_reach(patient: Patient) -> None:
    from learnae.transports import cid_of

    announce(patient, 1, payload=cid_of(b"nobody has this"))
    part, line = patient.fault()
    assert part == "models" and "firewall" in line and short(identity(1).peer_id) in line


def test_no_traceback_and_one_line_each(patient: Patient) -> None:
    (patient.home / "key").chmod(0o644)
    done = CliRunner().invoke(
        command,
        [*patient.options, "--listen", "0"],
    )
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[-1].startswith("1 fault(s)")
    assert [line for line in lines if line.startswith("FAULT")] == [lines[3]]
    assert os.sep.join(["home", "key"]) in lines[3]
