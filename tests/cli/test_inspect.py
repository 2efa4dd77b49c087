"""`learnae inspect`: every kind of object, by file and by CID, and any bytes whatever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from learnae import kernels
from learnae.cli import main
from learnae.node.checkpoint import Checkpoint, encode_checkpoint
from learnae.swarm.announcement import Announcement, Kind, encode_announcement
from learnae.swarm.charter import Charter, dump_charter
from learnae.swarm.trust import Identity
from learnae.transports import DirectoryTransport, cid_of, cid_text

VECTOR = np.arange(300, dtype=np.float32)
PAYLOAD = bytes(kernels.payload_write("f32", bytes(range(32)), [VECTOR, -VECTOR]))
DIFFERENCE = bytes(
    kernels.payload_write(
        "topk",
        bytes(range(32)),
        [2 * VECTOR, VECTOR],
        base=kernels.payload_open(PAYLOAD, 300),
        base_cid=cid_of(PAYLOAD),
    )
)
CHARTER = Charter(name="ours")
IDENTITY = Identity.from_private_bytes(bytes(32))
ANNOUNCEMENT = encode_announcement(
    Announcement(
        swarm_id=CHARTER.swarm_id,
        peer_id=IDENTITY.peer_id,
        sequence=1,
        previous=None,
        kind=Kind.WEIGHTS,
        round=12,
        payload=cid_of(PAYLOAD),
        schema_digest=bytes(32),
        codec="f32",
        samples=640,
        loss=0.5,
        addresses=(),
        time=1_800_000_000.0,
    ),
    IDENTITY,
)
CHECKPOINT = encode_checkpoint(
    Checkpoint(CHARTER.swarm_id, 7, PAYLOAD, b"state", {"momentum": VECTOR}, 1_800_000_000.0)
)
OBJECTS = {
    "payload": PAYLOAD,
    "charter": dump_charter(CHARTER).encode(),
    "announcement": ANNOUNCEMENT,
    "checkpoint": CHECKPOINT,
}


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_kind_is_recognised(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "object"
    path.write_bytes(OBJECTS[kind])
    result = inspect(path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["kind"] == kind
    people = inspect(path)
    assert people.exit_code == 0
    assert people.output.startswith("kind") and kind in people.output.splitlines()[0]


def described(tmp_path: Path, kind: str) -> dict[str, Any]:
    path = tmp_path / "object"
    path.write_bytes(OBJECTS[kind])
    found: dict[str, Any] = json.loads(inspect(path, "--json").stdout)
    return found


def test_payload(tmp_path: Path) -> None:
    found = described(tmp_path, "payload")
    assert (found["codec"], found["n_elements"], found["n_vectors"]) == ("f32", 300, 2)
    assert found["nbytes"] == len(PAYLOAD)
    assert found["cid"] == cid_text(cid_of(PAYLOAD))
    assert found["vectors"][0]["norm"] == pytest.approx(float(np.linalg.norm(VECTOR)))


def test_difference(tmp_path: Path) -> None:
    path = tmp_path / "difference"
    path.write_bytes(DIFFERENCE)
    found = json.loads(inspect(path, "--json").stdout)
    assert (found["codec"], found["base"]) == ("topk", cid_text(cid_of(PAYLOAD)))
    assert 0 < found["parameter"] < found["block_length"], "how many of a block it holds"
    assert "base" not in described(tmp_path, "payload")


def test_packed(tmp_path: Path) -> None:
    path, model = tmp_path / "packed", np.arange(5000, dtype=np.float32) ** 3
    plain = kernels.payload_write("i8", bytes(32), [model])
    packed = kernels.payload_pack(kernels.payload_open(plain, 5000))
    path.write_bytes(packed)
    found = json.loads(inspect(path, "--json").stdout)
    assert (found["codec"], found["nbytes"]) == ("i8z", len(packed))
    assert found["packed_to"] == pytest.approx(len(packed) / len(plain))
    assert found["vectors"][0]["norm"] == pytest.approx(float(np.linalg.norm(model)), rel=1e-2)


def test_announcement(tmp_path: Path) -> None:
    found = described(tmp_path, "announcement")
    assert found["peer_id"] == IDENTITY.peer_id
    assert (found["says"], found["round"], found["samples"]) == ("weights", 12, 640)
    assert found["payload"] == cid_text(cid_of(PAYLOAD))


def test_charter(tmp_path: Path) -> None:
    found = described(tmp_path, "charter")
    assert found["swarm_id"] == CHARTER.swarm_id.hex()
    assert found["gossip"]["codec"] == "i8"


def test_checkpoint(tmp_path: Path) -> None:
    found = described(tmp_path, "checkpoint")
    assert (found["round"], found["params"]["n_elements"]) == (7, 300)
    assert found["arrays"] == {"momentum": "float32[300]"}


def test_an_object_by_its_cid(tmp_path: Path) -> None:
    transport = DirectoryTransport(tmp_path, "somebody")
    cid = cid_text(transport.put(PAYLOAD))
    transport.close()
    result = inspect(cid, "--transport", f"directory:{tmp_path}", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["cid"] == cid


def test_a_cid_that_nobody_has_is_code_3(tmp_path: Path) -> None:
    result = inspect(cid_text(cid_of(b"x")), "--transport", f"directory:{tmp_path}")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "says"),
    [("nothing", "--transport"), (".", "learnae status")],
    ids=["none", "folder"],
)
def test_no_such_thing(target: str, says: str) -> None:
    result = inspect(target)
    assert result.exit_code == 1
    assert says in result.stderr


def test_neither_file_nor_cid(tmp_path: Path) -> None:
    result = inspect("nothing", "--transport", f"directory:{tmp_path}")
    assert result.exit_code == 1
    assert "neither a file nor a CID" in result.stderr


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    position = st.integers(0, len(data) - 1)
    flipped = position.map(lambda at: data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
    return st.one_of(flipped, position.map(lambda at: data[:at]), st.just(data + b"\0"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.one_of(st.binary(max_size=400), *map(damaged, OBJECTS.values())))
@example(b"")
@example(b"\x89LRNAE\r\n")
@example(b"\x89LRNCK\r\n" + bytes(100))
def test_any_bytes_give_a_description_or_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "object"
    path.write_bytes(data)
    result = inspect(path, "--json")
    if result.exit_code == 0:
        assert json.loads(result.stdout)["kind"] in OBJECTS
    else:
        assert result.exit_code in (1, 4), result.exception
        assert result.stdout == "" and result.stderr.count("\n") == 1


def test_deep_nesting_is_one_line(tmp_path: Path) -> None:
    # A process of its own: hypothesis hooks into the garbage collector, and CPython 3.11 does
    # not survive such a hook at the recursion limit.
    path = tmp_path / "object"
    path.write_bytes(b"a = " + b"[" * 5000)
    command = [sys.executable, "-m", "learnae", "inspect", str(path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
