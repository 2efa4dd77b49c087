"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import learnae
from learnae import kernels

__all__ = ["Machine", "describe_machine"]

_KIB = 1024
# Where the system does not tell: what most processors have at least.
_CACHES = {1: 32 * _KIB, 2: 512 * _KIB, 3: 4096 * _KIB}


@dataclass(frozen=True)
class Machine:
    """One machine with the software that matters to a figure; sizes in bytes."""

    cpu: str
    architecture: str
    cores: int  # that this process may use
    l1_nbytes: int
    l2_nbytes: int
    l3_nbytes: int
    memory_nbytes: int
    register_nbytes: int  # of the widest vector registers
    load: float  # processes that wanted to run in the last minute: above 0.5, expect noise
    system: str
    python: str
    numpy: str
    learnae: str
    backend: str
    isas: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name, as ``--json`` prints them."""
        return asdict(self)


def describe_machine() -> Machine:
    """Ask the system."""
    cpuinfo = _read(Path("/proc/cpuinfo"))
    caches = _CACHES | _caches(Path("/sys/devices/system/cpu/cpu0/cache"))
    return Machine(
        cpu=_cpu(cpuinfo),
        architecture=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        l1_nbytes=caches[1],
        l2_nbytes=caches[2],
        l3_nbytes=max(caches[2], caches[3]),
        memory_nbytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        register_nbytes=_register_nbytes(cpuinfo),
        load=os.getloadavg()[0],
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        numpy=np.__version__,
        learnae=learnae.__version__,
        backend=kernels.backend(),
        isas=kernels.isas(),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _cpu(cpuinfo: str) -> str:
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if named:
        return " ".join(named[1].split())
    # ARM boards name themselves here, and their processor only by a number.
    board = _read(Path("/proc/device-tree/model"))
    part = re.search(r"^CPU part\s*:\s*(\S+)$", cpuinfo, re.MULTILINE)
    return board or (f"ARM part {part[1]}" if part else platform.processor()) or "unknown"


def _register_nbytes(cpuinfo: str) -> int:
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = found[1].split() if found else []
    return 64 if "avx512f" in flags else 32 if "avx2" in flags else 16


def _caches(folder: Path) -> dict[int, int]:
    """Return the size of each level's data cache, in bytes."""
    sizes = {}
    for cache in sorted(folder.glob("index*")):
        size = re.fullmatch(r"(\d+)K", _read(cache / "size"))
        if size and _read(cache / "type") != "Instruction":
            sizes[int(_read(cache / "level"))] = int(size[1]) * _KIB
    return sizes
