"""Which backend is chosen, what happens where none can be, and that nothing is loaded early."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from kernels.reference import IDS as SPECIFIED

from learnae import kernels
from learnae._core import ffi, lib
from learnae.kernels import _c, _numba


def run(code: str, backend: str | None = None) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    env = {key: value for key, value in os.environ.items() if key != "LEARNAE_KERNELS"}
    if backend is not None:
        env["LEARNAE_KERNELS"] = backend
    command = [sys.executable, "-c", "import sys\n" + code]
    return subprocess.run(
        command, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


ERROR = """
from learnae import kernels
from learnae.errors import BackendError
try:
    kernels.backend()
except BackendError as error:
    print(error)
"""
NO_CORE = "sys.modules['learnae._core'] = None\n"
NO_NUMBA = "sys.modules['numba'] = None\n"
PRINT = "from learnae import kernels; print(kernels.backend(), kernels.crc32c(b'123456789'))"


def test_the_compiled_core_is_preferred() -> None:
    assert run(PRINT) == f"c {0xE3069283}"


def test_numba_serves_where_there_is_no_core() -> None:
    assert run(NO_CORE + PRINT) == f"numba {0xE3069283}"


@pytest.mark.parametrize("name", ["c", "numba"])
def test_the_environment_insists(name: str) -> None:
    assert run(PRINT, name).startswith(name)


def test_an_unknown_name_is_refused() -> None:
    assert run(ERROR, "cuda") == "LEARNAE_KERNELS='cuda': set it to c or numba, or unset it"


def test_what_is_missing_comes_with_its_cure() -> None:
    assert "pip install numba" in run(NO_NUMBA + ERROR, "numba")
    assert "C compiler" in run(NO_CORE + ERROR, "c")
    both = run(NO_CORE + NO_NUMBA + ERROR)
    assert "C compiler" in both and "pip install numba" in both and "\n" not in both


def test_importing_loads_no_backend() -> None:
    early = (
        "import learnae.kernels; print([m for m in ('learnae._core', 'numba') if m in sys.modules])"
    )
    assert run(early) == "[]"


def test_both_backends_offer_the_same() -> None:
    assert _c.__all__ == _numba.__all__
    assert set(_c.__all__) == set(kernels.__all__) - {
        *("CODECS", "PACKED", "Buffer", "Float32", "PayloadView", "WritableBuffer", "backend"),
        *("median", "payload_median"),
    }


def test_codec_numbers_are_those_of_the_format_and_of_the_header() -> None:
    assert dict(kernels.CODECS) == SPECIFIED
    for name, number in kernels.CODECS.items():
        assert getattr(lib, f"LEARNAE_CODEC_{name.upper()}") == number
        assert ffi.string(lib.learnae_codec_name(number)).decode() == name
