"""The compiled core: cffi's bindings of every declaration in core/include/learnae.h."""

from typing import Any

ffi: Any
lib: Any
