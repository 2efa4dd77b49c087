"""Make the golden differences in this folder: payloads that are nothing without their base.

They are made by the oracles of tests/kernels, from docs/payload.md and NumPy: nothing of learnae
is imported. ``python tests/vectors/differences/make.py`` writes them again, ``--check`` compares.
Every later version must still read them. ``NAME.payload`` is a difference to the payload of
tests/vectors that the manifest names as its base, ``NAME.f32`` the model that both make together.
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

from kernels import lossless, reference, sparse  # noqa: E402
from vectors.make import write_or_check  # noqa: E402

Float32 = NDArray[np.float32]
# Codec, base, and the elements that a full block of topk keeps.
CASES = [
    ("topk", "f32-2x300-b16384", 164),
    ("topk", "i8-2x300-b16384", 164),
    ("topk", "f32-1x700-b256", 31),
    ("delta", "f32-2x300-b16384", 0),
    ("delta", "f32-1x700-b16384", 0),
    ("delta", "bf16-1x700-b256", 0),
    ("delta", "i8-2x650-b512", 0),
]


def moved(base: Float32) -> Float32:
    """Return a model near the base: every third element as it was, some far away."""
    number = np.arange(base.size)
    bits = base.view(np.uint32).astype(np.int64)
    bits += np.where(number % 3 == 0, 0, (number * 2654435761 % 4096) - 2048)
    bits ^= np.where(number % 97 == 5, 0x81234567, 0)
    return (bits % 2**32).astype(np.uint32).view(np.float32)


def build(codec: str, base_name: str, parameter: int) -> tuple[bytes, Float32]:
    """Return the payload of a case, and the model."""
    data = (FOLDER.parent / f"{base_name}.payload").read_bytes()
    _, shape, block = base_name.split("-")
    n_vectors, n = (int(part) for part in shape.split("x"))
    length = int(block[1:])
    base = np.fromfile(FOLDER.parent / f"{base_name}.f32", "<f4").reshape(n_vectors, n)
    model = np.stack([moved(vector) for vector in base])
    with np.errstate(all="ignore"):
        left = reference.canonical(model - base)
    contents, kept = [], np.zeros_like(left)
    for v in range(n_vectors):
        for part in (slice(i, min(i + length, n)) for i in range(0, n, length)):
            if codec == "delta":
                contents.append(lossless.encode(model[v, part], base[v, part]))
                continue
            k = sparse.n_kept(parameter, left[v, part].size, length)
            contents.append(sparse.encode(left[v, part], k))
            kept[v, part] = reference.canonical(sparse.decode(left[v, part], k))
    cid = b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()
    payload = reference.framed(
        *(codec, data[32:64], n_vectors, n, length, contents), base_cid=cid, parameter=parameter
    )
    if codec == "delta":
        return payload, model
    with np.errstate(all="ignore"):
        return payload, reference.canonical(base + kept)


def files() -> dict[str, bytes]:
    """Return the content of every file of this folder, by name."""
    result, lines = {}, []
    for codec, base, parameter in CASES:
        name = f"{codec}-of-{base}"
        payload, model = build(codec, base, parameter)
        result[f"{name}.payload"] = payload
        result[f"{name}.f32"] = model.astype("<f4").tobytes()
        lines.append(json.dumps({"name": name, "codec": codec, "base": base}))
    result["manifest.json"] = ("[\n" + ",\n".join(lines) + "\n]\n").encode()
    return result


if __name__ == "__main__":
    sys.exit(write_or_check(FOLDER, files(), sys.argv[1:]))
