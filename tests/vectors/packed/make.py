"""Make the golden packed payloads in this folder: codecs i8z and i4z.

They are made by the oracles of tests/kernels, from docs/payload.md and NumPy: nothing of learnae
is imported. ``python tests/vectors/packed/make.py`` writes them again, ``--check`` compares. Every
later version must still read them. ``NAME.payload`` is packed, ``NAME.plain`` what it unpacks to.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent.parent))

from kernels import packing, reference  # noqa: E402
from vectors.make import write_or_check  # noqa: E402

# Codec, vectors, elements, block length: the small ones raw, the others coded.
CASES = [
    ("i8z", 1, 1, 16384),
    ("i8z", 2, 2000, 16384),
    ("i8z", 1, 5000, 4096),
    ("i4z", 1, 1, 16384),
    ("i4z", 2, 2001, 16384),
    ("i4z", 1, 5000, 2048),
]


def values(n: int) -> NDArray[np.float32]:
    """Return floats most of which are small, made of integers alone."""
    number = np.arange(n, dtype=np.int64)
    spread = (number * 2654435761 % 4093 - 2046).astype(np.float32)
    return spread * spread * spread / np.float32(2**33)


def files() -> dict[str, bytes]:
    """Return the content of every file of this folder, by name."""
    result, lines = {}, []
    for codec, n_vectors, n, block_length in CASES:
        name = f"{codec}-{n_vectors}x{n}-b{block_length}"
        vectors = list(values(n_vectors * n).reshape(n_vectors, n))
        arguments = (hashlib.sha256(name.encode()).digest(), vectors, block_length)
        result[f"{name}.payload"] = packing.packed(codec, *arguments)
        result[f"{name}.plain"] = reference.payload(packing.PLAIN[codec], *arguments)
        lines.append(json.dumps({"name": name, "codec": codec}))
    result["manifest.json"] = ("[\n" + ",\n".join(lines) + "\n]\n").encode()
    return result


if __name__ == "__main__":
    sys.exit(write_or_check(FOLDER, files(), sys.argv[1:]))
