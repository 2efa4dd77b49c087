"""The command line: one file per command, one place where an error becomes a line.

A command's module is imported only when its name is typed or listed, and itself imports nothing
beyond click at the top, so that ``learnae --help`` needs neither JAX nor the compiled core.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import IO, Any

import click

from learnae.errors import HostileBytes, LearnaeError, TransportError

__all__ = ["main"]

# In the order in which somebody new needs them.
COMMANDS = (
    *("demo", "create", "join", "ipfs", "invite", "status", "doctor"),
    *("inspect", "evaluate", "predict", "export"),
)

EXIT_ASKED = 1
EXIT_TRANSPORT = 3
EXIT_HOSTILE = 4
EXIT_INTERRUPTED = 130


class Failure(click.ClickException):
    """An error as the user sees it: one red line, and a code that says what kind."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on standard error, or on `file`."""
        click.secho(f"error: {self.message}", fg="red", err=file is None, file=file)


class Mistyped(Failure):
    """A wrong command line: the error, and on a second line where to look it up."""

    def __init__(self, error: click.UsageError, ctx: click.Context) -> None:
        super().__init__(error.format_message(), error.exit_code)
        self.hint = f"try '{(error.ctx or ctx).command_path} --help'"

    def show(self, file: IO[Any] | None = None) -> None:
        """Print both lines on standard error, or on `file`."""
        super().show(file)
        click.echo(self.hint, err=file is None, file=file)


def exit_code(error: LearnaeError) -> int:
    """Return the process exit code that stands for `error` (docs/commands.md)."""
    if isinstance(error, TransportError):
        return EXIT_TRANSPORT
    if isinstance(error, HostileBytes):
        return EXIT_HOSTILE
    return EXIT_ASKED


def describe_os_error(error: OSError) -> str:
    """Return one line for an operating system error that no part has put into its own words."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else reason


class Commands(click.Group):
    """The group of all commands: imports them late and translates their errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"learnae.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands in front of the command."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _in_two_lines(error, ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every error that learnae raises on purpose becomes a `Failure`."""
        show_traceback = bool(ctx.params.get("traceback"))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.secho("interrupted", fg="red", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except click.UsageError as error:
            raise _in_two_lines(error, ctx) from error
        except LearnaeError as error:
            if show_traceback:
                raise
            raise Failure(str(error) or type(error).__name__, exit_code(error)) from error
        except BrokenPipeError:
            # The reader of our output has gone (`learnae status | head`); nobody is left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(EXIT_ASKED)
        except OSError as error:
            if show_traceback:
                raise
            raise Failure(describe_os_error(error), EXIT_ASKED) from error


def _in_two_lines(error: click.UsageError, ctx: click.Context) -> click.ClickException:
    """Return what click raised as `Mistyped`; itself where it only prints the help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    return Mistyped(error, ctx)


def print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    """Print the version, which lives in the C header, and stop."""
    if not value or ctx.resilient_parsing:
        return
    from learnae import __version__

    click.echo(f"learnae {__version__}")
    ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  learnae demo
  learnae create swarm.toml --data mine.csv --label class
  learnae join swarm.toml --data mine.csv

Exit codes: 0 done, 1 cannot be done as asked, 2 wrong command line, 3 transport failed,
4 bytes from outside are not what they claim to be, 130 interrupted.""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version and stop.",
)
@click.option(
    "--traceback",
    is_flag=True,
    envvar="LEARNAE_TRACEBACK",
    help="Show where an error was raised, for developers.",
)
def main(traceback: bool) -> None:
    """Train one neural network together, without a server and without moving any data."""
