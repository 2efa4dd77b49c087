"""The golden files: every version must read them, and write those of its own block length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from kernels.reference import CODECS, bits

from learnae.transports import cid_of

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
MANIFEST: list[dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
DIFFERENCES: list[dict[str, str]] = json.loads(
    (FOLDER / "differences" / "manifest.json").read_text("utf-8")
)
PACKED: list[dict[str, str]] = json.loads((FOLDER / "packed" / "manifest.json").read_text("utf-8"))
WRITTEN_LENGTH = 16384  # the writer's own block length; the reader takes others


def test_there_are_files_of_every_codec() -> None:
    names = {path.stem for path in FOLDER.glob("*.payload")}
    assert {name.partition("-")[0] for name in names} == set(CODECS)
    assert names == {entry["name"] for entry in MANIFEST}


def test_the_committed_script_makes_these_files() -> None:
    subprocess.run([sys.executable, str(FOLDER / "make.py"), "--check"], check=True)


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: str(entry["name"]))
def test_golden_payload(k: ModuleType, entry: dict[str, Any]) -> None:
    data = (FOLDER / f"{entry['name']}.payload").read_bytes()
    values = np.fromfile(FOLDER / f"{entry['name']}.f32", "<f4").reshape(entry["n_vectors"], -1)
    view = k.payload_open(data, values.shape[1])
    k.payload_verify(view)
    assert (view.codec, view.n_vectors) == (entry["codec"], entry["n_vectors"])
    assert (view.n_elements, view.block_length) == (values.shape[1], entry["block_length"])
    for v, expected in enumerate(values):
        assert np.array_equal(bits(k.payload_decode(view, v)), bits(expected))
    if entry["block_length"] == WRITTEN_LENGTH:
        source = np.fromfile(FOLDER / str(entry["source"]), "<f4")[: values.size]
        vectors = list(source.reshape(values.shape))
        assert k.payload_write(view.codec, view.schema_digest, vectors) == data


def test_the_committed_script_makes_the_differences() -> None:
    subprocess.run([sys.executable, str(FOLDER / "differences" / "make.py"), "--check"], check=True)


@pytest.mark.parametrize("entry", DIFFERENCES, ids=lambda entry: str(entry["name"]))
def test_golden_difference(k: ModuleType, entry: dict[str, str]) -> None:
    """With its base it gives the model; and the model less the base gives its bytes."""
    data = (FOLDER / "differences" / f"{entry['name']}.payload").read_bytes()
    base_data = (FOLDER / f"{entry['base']}.payload").read_bytes()
    expected = np.fromfile(FOLDER / "differences" / f"{entry['name']}.f32", "<f4")
    view = k.payload_open(data, expected.size)
    base = k.payload_open(base_data, expected.size)
    k.payload_verify(view)
    assert view.codec == entry["codec"] and view.base == cid_of(base_data)
    model = k.payload_open(k.payload_rebase(base, view), expected.size)
    values = [k.payload_decode(model, v) for v in range(view.n_vectors)]
    assert np.array_equal(bits(np.concatenate(values)), bits(expected))
    if view.codec == "delta" and view.block_length == WRITTEN_LENGTH:
        again = k.payload_write("delta", view.schema_digest, values, base=base, base_cid=view.base)
        assert again == data


def test_the_committed_script_makes_the_packed() -> None:
    subprocess.run([sys.executable, str(FOLDER / "packed" / "make.py"), "--check"], check=True)


@pytest.mark.parametrize("entry", PACKED, ids=lambda entry: str(entry["name"]))
def test_golden_packed(k: ModuleType, entry: dict[str, str]) -> None:
    data = (FOLDER / "packed" / f"{entry['name']}.payload").read_bytes()
    plain = (FOLDER / "packed" / f"{entry['name']}.plain").read_bytes()
    view = k.payload_open(data, 5000)
    k.payload_verify(view)
    assert view.codec == entry["codec"]
    assert k.payload_unpack(view) == plain
    assert k.payload_pack(k.payload_open(plain, 5000)) == data
