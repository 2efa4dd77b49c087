"""An engineer's ways in: install the C library and find it with CMake or pkg-config, or build it
as a part of one's own project; link, run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from require import need

ROOT = Path(__file__).resolve().parent.parent

PROGRAM = """
#include <learnae.h>
#include <stdio.h>
int main(void) {
    float own[3] = {1, 2, 3}, other[3] = {3, 4, 5};
    const float *models[] = {own, other};
    const float weights[] = {0.5f, 0.5f};
    learnae_message message;
    if (learnae_average(own, models, weights, 2, 3, &message)) {
        puts(message.text);
        return 1;
    }
    printf("%s %g %g %g", learnae_version(), own[0], own[1], own[2]);
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.20)
project(embedder C)
find_package(learnae 0.1 REQUIRED)
add_executable(program program.c)
target_link_libraries(program PRIVATE learnae::core)
"""


CMAKE_SUBDIRECTORY = f"""
cmake_minimum_required(VERSION 3.20)
project(embedder C)
add_subdirectory("{ROOT.as_posix()}" learnae)
add_executable(program program.c)
target_link_libraries(program PRIVATE learnae::core)
install(TARGETS program)
"""


def run(*command: object, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(shutil.which("cmake"), "no cmake")
    need(shutil.which("cc"), "no C compiler")
    folder = tmp_path_factory.mktemp("embedding")
    (folder / "program.c").write_text(PROGRAM)
    (folder / "CMakeLists.txt").write_text(CMAKE)
    run("cmake", "-S", ROOT, "-B", "core", "-DLEARNAE_BUILD_TESTS=OFF", cwd=folder)
    run("cmake", "--build", "core", cwd=folder)
    run("cmake", "--install", "core", "--prefix", folder / "prefix", cwd=folder)
    return folder / "prefix"


def version() -> str:
    header = (ROOT / "core" / "include" / "learnae.h").read_text("utf-8")
    return header.split('#define LEARNAE_VERSION "')[1].split('"')[0]


def test_find_package(prefix: Path) -> None:
    folder = prefix.parent
    run("cmake", "-S", ".", "-B", "found", f"-DCMAKE_PREFIX_PATH={prefix}", cwd=folder)
    run("cmake", "--build", "found", cwd=folder)
    assert run("found/program", cwd=folder) == f"{version()} 2 3 4"


def test_the_first_program_does_what_it_says(prefix: Path) -> None:
    source = ROOT / "examples" / "merge.c"
    (library,) = prefix.rglob("liblearnae*")
    warned = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-pthread"]
    command = ["cc", *warned, "-I", prefix / "include", source, library, "-o", "merge"]
    run(*command, cwd=prefix.parent)
    said = source.read_text("utf-8").split("prints: ")[1].splitlines()[0]
    assert run("./merge", cwd=prefix.parent) == said + "\n"


def test_pkg_config(prefix: Path) -> None:
    need(shutil.which("pkg-config"), "no pkg-config")
    (file,) = prefix.rglob("learnae.pc")
    path = {"PKG_CONFIG_PATH": str(file.parent)}
    assert run("pkg-config", "--modversion", "learnae", cwd=prefix, **path).strip() == version()
    flags = run("pkg-config", "--cflags", "--libs", "learnae", cwd=prefix, **path).split()
    run("cc", "program.c", *flags, "-o", "linked", cwd=prefix.parent)
    assert run("./linked", cwd=prefix.parent) == f"{version()} 2 3 4"


def test_pkg_config_with_folders_given_in_full(tmp_path: Path) -> None:
    need(shutil.which("cmake"), "no cmake")
    folders = {"LIBDIR": tmp_path / "lib64", "INCLUDEDIR": tmp_path / "headers"}
    given = [f"-DCMAKE_INSTALL_{name}={folder}" for name, folder in folders.items()]
    run("cmake", "-S", ROOT, "-B", "core", "-DLEARNAE_BUILD_TESTS=OFF", *given, cwd=tmp_path)
    lines = (tmp_path / "core" / "learnae.pc").read_text("utf-8").splitlines()
    assert f"libdir={folders['LIBDIR']}" in lines
    assert f"includedir={folders['INCLUDEDIR']}" in lines


def test_add_subdirectory_leaves_the_other_project_its_own(tmp_path: Path) -> None:
    need(shutil.which("cmake"), "no cmake")
    need(shutil.which("cc"), "no C compiler")
    (tmp_path / "program.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE_SUBDIRECTORY)
    commands = "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"
    run("cmake", "-S", ".", "-B", "build", commands, cwd=tmp_path)
    # It chose no build type: its own program is not optimised, the library is.
    compiled = json.loads((tmp_path / "build" / "compile_commands.json").read_text())
    optimised = [Path(unit["file"]).name for unit in compiled if " -O2 " in unit["command"]]
    assert "average.c" in optimised and "program.c" not in optimised
    run("cmake", "--build", "build", cwd=tmp_path)
    run("cmake", "--install", "build", "--prefix", tmp_path / "prefix", cwd=tmp_path)
    assert run("build/program", cwd=tmp_path) == f"{version()} 2 3 4"
    installed = [path.name for path in (tmp_path / "prefix").rglob("*") if path.is_file()]
    assert installed == ["program"]
    assert "CMAKE_BUILD_TYPE:STRING=\n" in (tmp_path / "build" / "CMakeCache.txt").read_text()


def test_objects_of_the_recipe_are_neither_kept_nor_committed(tmp_path: Path) -> None:
    """`cc -c core/src/*.c` leaves them in the folder where it runs: the repository's."""
    need(shutil.which("make"), "no make")
    need(shutil.which("git"), "no git")
    for name in ("Makefile", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("average.o", "kept.c"):
        (tmp_path / name).touch()
    run("git", "init", "--quiet", cwd=tmp_path)
    seen = run("git", "status", "--porcelain", "--untracked-files=all", cwd=tmp_path)
    assert "kept.c" in seen and "average.o" not in seen
    # Not what a make above us was told: its VENV may be where this test runs.
    run("make", "clean", "VENV=.venv", "MAKEFLAGS=", "MAKEOVERRIDES=", cwd=tmp_path)
    assert (tmp_path / "kept.c").exists() and not (tmp_path / "average.o").exists()
