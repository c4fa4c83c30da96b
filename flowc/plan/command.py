"""What the commands of the toolchain share: how they are declared, and how they end when they refuse.

An app is a table of functions with their arguments, which `argparse` reads. Nothing heavy is imported, and
only what the command that is called needs is made: people and scripts start these commands all day.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeVar

_F = TypeVar("_F", bound=Callable[..., None])


class Argument(NamedTuple):
    """What `argparse.ArgumentParser.add_argument` is given."""

    names: tuple[str, ...]
    settings: dict[str, Any]


def argument(*names: str, **settings: Any) -> Argument:
    """An argument or option of a command. `dest` names the function's parameter where the name does not."""
    return Argument(names, settings)


class App:
    """A program with commands."""

    def __init__(self, name: str, about: str) -> None:
        self._name = name
        self._about = about
        self._commands: dict[str, tuple[Callable[..., None], tuple[Argument, ...]]] = {}

    def command(self, *arguments: Argument, name: str = "") -> Callable[[_F], _F]:
        """Make a function a command. Its docstring's first line is the command's help, the rest examples."""

        def register(function: _F) -> _F:
            self._commands[name or function.__name__] = (function, arguments)
            return function

        return register

    def __call__(self) -> None:
        """Do what the command line says. Exits: 1 with diagnostics on standard error, 2 for wrong usage, 130 when interrupted."""
        name = sys.argv[1] if len(sys.argv) > 1 else ""
        if name not in self._commands:
            self._explain()
        function, arguments = self._commands[name]
        parser = argparse.ArgumentParser(
            f"{self._name} {name}",
            description=_first_line(function),
            epilog=_other_lines(function),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for names, settings in arguments:
            parser.add_argument(*names, **settings)
        try:
            function(**vars(parser.parse_args(sys.argv[2:])))
            sys.stdout.flush()
        except BrokenPipeError:  # who reads the output, `head` for one, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)  # as a shell tells of SIGPIPE
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)  # as a shell tells of SIGINT
        except Exception as error:
            from flowc.plan.diagnostics import Refused, print_refusal

            if not isinstance(error, Refused):
                raise
            print_refusal(error)
            sys.exit(1)

    def _explain(self) -> NoReturn:
        """Answer `--help` and `--version`, and a command line that names no command."""
        parser = argparse.ArgumentParser(self._name, description=self._about, allow_abbrev=False)
        parser.add_argument("--version", action=_Version)
        commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
        for name, (function, _) in self._commands.items():
            commands.add_parser(name, help=_first_line(function))
        if len(sys.argv) == 1:
            parser.print_help()
            parser.exit(2)
        parser.parse_args()
        raise AssertionError("one of the arguments ended the process")


def _first_line(function: Callable[..., None]) -> str:
    return (function.__doc__ or "").partition("\n\n")[0]


def _other_lines(function: Callable[..., None]) -> str:
    """What a docstring says after its first paragraph, as it stands there."""
    lines = (function.__doc__ or "").partition("\n\n")[2].rstrip().splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version('flow-toolchain')}")
        parser.exit()
