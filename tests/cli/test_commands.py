"""Help, usage errors, exit codes and start-up time of every command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from learnae import cli, errors
from learnae.cli import main
from learnae.cli.folders import charter_of

COMMANDS = [
    *("demo", "create", "join", "ipfs", "invite", "status", "doctor"),
    *("inspect", "evaluate", "predict", "export"),
]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"], prog_name="learnae")
    assert result.exit_code == 0
    examples = re.findall(rf"^ +learnae {name} ", result.output, re.MULTILINE)
    assert len(examples) >= 1, result.output
    assert re.search(r"^  -", result.output, re.MULTILINE), "no options are listed"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    self_explaining = {"seed", "peers", "codec", "rounds", "optimizer", "learning_rate"}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in self_explaining:
            assert parameter.help, f"{name} --{parameter.name} has no help"


def test_commands_are_those_of_the_manual() -> None:
    manual = Path(__file__).parents[2] / "docs" / "commands.md"
    listed = re.findall(r"^\| `learnae (\w+)` \|", manual.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS) == sorted(cli.COMMANDS)


def test_help_needs_neither_jax_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from learnae.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "heavy = {'jax', 'numpy', 'rich', 'cryptography', 'learnae._core'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert re.fullmatch(r"learnae \d+\.\d+\.\d+\S*\n", result.output)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["ipfs", "nonsense"],
        ["ipfs", "up"],
        ["join"],
        ["join", "swarm.toml"],
        ["join", "swarm.toml", "--relay", "--data", "x.csv"],
        ["join", "swarm.toml", "--relay", "--linger", "1"],
        ["create", "swarm.toml"],
        ["create", "swarm.toml", "--data", "x.csv", "--label", "y", "--optimizer", "adamm"],
        ["evaluate"],
        ["predict", "home"],
        ["export", "home"],
        ["export", "home", "model.pickle"],
        ["status", "--transport", "directory:/nowhere"],
        ["demo", "--alpha", "0"],
        ["demo", "--codec", "zip"],
        ["demo", "--peers", "1"],
    ],
    ids=" ".join,
)
def test_wrong_command_line_is_code_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments, prog_name="learnae")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ") and len(error) > len("error: ")
    within = "learnae" if arguments[0] in ("nonsense", "--nonsense") else f"learnae {arguments[0]}"
    assert re.fullmatch(rf"try '{within}( \w+)? --help'", hint)


@pytest.mark.parametrize("arguments", [[], ["ipfs"]])
def test_a_group_alone_shows_its_help(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output and "Commands:" in result.output


CODES = {
    errors.LearnaeError("x"): 1,
    errors.UsageError("x"): 1,
    errors.DataError("x"): 1,
    errors.TransportError("x"): 3,
    errors.NotFound("x"): 3,
    errors.PayloadError("x"): 4,
    errors.CheckpointError("x"): 4,
    PermissionError(13, "Permission denied", "some/path"): 1,
}


@pytest.mark.parametrize("error", CODES, ids=lambda error: type(error).__name__)
def test_an_error_is_one_line_and_a_code(error: Exception) -> None:
    @click.command("fail")
    def fail() -> None:
        raise error

    group = cli.Commands("learnae", params=main.params, callback=main.callback)
    group.get_command = lambda ctx, name: fail  # type: ignore[method-assign]
    result = CliRunner().invoke(group, ["fail"])
    assert result.exit_code == CODES[error]
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for arguments, environment in ((["--traceback", "fail"], {}), (["fail"], TRACEBACK)):
        shown = CliRunner().invoke(group, arguments, env=environment)
        assert shown.exception is error


TRACEBACK = {"LEARNAE_TRACEBACK": "1"}


def test_every_error_of_the_tree_has_a_documented_code() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", manual, re.MULTILINE)}
    for name in errors.__all__:
        assert cli.exit_code(getattr(errors, name)("x")) in documented
    assert {0, 2, cli.EXIT_INTERRUPTED} < documented


def test_interruption_is_code_130() -> None:
    @click.command("wait")
    def wait() -> None:
        raise KeyboardInterrupt

    group = cli.Commands("learnae", params=main.params, callback=main.callback)
    group.get_command = lambda ctx, name: wait  # type: ignore[method-assign]
    result = CliRunner().invoke(group, ["wait"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_folder_that_is_not_there(command: str, tmp_path: Path) -> None:
    home = str(tmp_path / "none")
    rest = ["--data", "x.csv"] if command == "evaluate" else [str(tmp_path / "out.npz")]
    result = CliRunner().invoke(main, [command, home, *rest])
    assert result.exit_code == 1
    assert f"the folder {home} does not exist" in result.stderr


def test_the_charter_is_found_beside_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "swarm" / "peer"
    home.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(errors.UsageError, match=r"no swarm\.toml here nor beside .*--charter"):
        charter_of(home, None)
    beside = home.parent / "swarm.toml"
    beside.touch()
    assert charter_of(home, None) == beside
    Path("swarm.toml").touch()
    assert charter_of(home, None) == Path("swarm.toml")
    assert charter_of(home, Path("other.toml")) == Path("other.toml")
