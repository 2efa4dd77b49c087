"""CRC-32C, eight bytes a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.kernels._numba.jit import jit

__all__ = ["crc32c"]


def _crc_table() -> NDArray[np.uint32]:
    """Return eight tables of 256: the CRC-32C of each byte followed by 0 to 7 zero bytes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0x82F63B78) ^ (table >> 1), table >> 1)
    tables = [table.astype(np.uint32)]
    for _ in range(7):
        tables.append(tables[0][tables[-1] & 0xFF] ^ (tables[-1] >> 8))
    return np.ascontiguousarray(tables, dtype=np.uint32)


_CRC = _crc_table()


@jit
def _crc32c(data: Any, crc: Any, table: Any) -> Any:
    crc = np.uint32(crc) ^ np.uint32(0xFFFFFFFF)
    n_wide = data.size // 8 * 8
    for i in range(0, n_wide, 8):
        low = np.uint32(data[i]) | np.uint32(data[i + 1]) << np.uint32(8)
        low |= np.uint32(data[i + 2]) << np.uint32(16) | np.uint32(data[i + 3]) << np.uint32(24)
        low ^= crc
        crc = table[7, low & np.uint32(0xFF)] ^ table[6, (low >> np.uint32(8)) & np.uint32(0xFF)]
        crc ^= table[5, (low >> np.uint32(16)) & np.uint32(0xFF)] ^ table[4, low >> np.uint32(24)]
        crc ^= table[3, data[i + 4]] ^ table[2, data[i + 5]]
        crc ^= table[1, data[i + 6]] ^ table[0, data[i + 7]]
    for i in range(n_wide, data.size):
        crc = table[0, (crc ^ data[i]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def crc32c(data: NDArray[np.uint8], crc: int = 0) -> int:
    """Return the CRC-32C of a read-only array of bytes, continuing from `crc`."""
    return int(_crc32c(data, np.uint32(crc), _CRC))
