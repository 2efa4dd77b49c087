"""Make the C source of ``learnae._core`` from the public header itself.

CMake runs ``python -m cffi.gen_src exec-python binding/core_ffi.py _core.c``. The declarations
are read from ``core/include/learnae.h``, so the two cannot disagree: cffi knows no
preprocessor, but all the header needs of one is to drop conditionals and keep constants. The
benchmark's streaming loops beside this file are a part of the module, not of the library.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

__all__ = ["cdef_of", "ffibuilder"]

HERE = Path(__file__).resolve().parent
HEADERS = (HERE.parent / "core" / "include" / "learnae.h", HERE / "stream.h")


def cdef_of(header: str) -> str:
    """Return the declarations of a C header as cffi's ``cdef`` takes them."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    # Only C++ sees these two; without the preprocessor they have to go by name.
    text = re.sub(r'#ifdef __cplusplus\n(extern "C" \{|\})\n#endif', "", text)
    lines = []
    for line in text.splitlines():
        constant = re.fullmatch(r"#define (LEARNAE_\w+) (.+?)\s*", line)
        if constant is None:
            lines.append("" if line.startswith("#") else line)
        elif constant[2].isdigit():
            lines.append(line)
        # A string constant: learnae_version() gives it.
    return "\n".join(lines)


ffibuilder = FFI()
for header in HEADERS:
    ffibuilder.cdef(cdef_of(header.read_text(encoding="utf-8")))
ffibuilder.set_source("learnae._core", "".join(f'#include "{path.name}"\n' for path in HEADERS))
