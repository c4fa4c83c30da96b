"""What the commands of the toolchain share: how they are declared, and how they end when they refuse.

An app is a table of functions with their arguments, which `argparse` reads. Nothing heavy is imported, and
only what the command that is called needs is made: people and scripts start these commands all day.
`argparse` itself comes last, for those who have something to do beside it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeVar

from flowc.plan.lean import import_argparse

_COLUMNS = 80  # where there is no terminal
_F = TypeVar("_F", bound=Callable[..., None])


class Argument(NamedTuple):
    """What `argparse.ArgumentParser.add_argument` is given."""

    names: tuple[str, ...]
    settings: dict[str, Any]
    dashes: bool = False


def argument(*names: str, dashes: bool = False, **settings: Any) -> Argument:
    """An argument or option of a command. `dest` names the function's parameter where the name does not.

    `dashes`: its value may begin with a dash, which `argparse` would take for an option.
    """
    return Argument(names, settings, dashes)


class Group(NamedTuple):
    """Commands under a heading. `module` declares them, and is loaded when one of them is called."""

    heading: str
    module: str
    commands: tuple[str, ...]


class App:
    """A program with commands: of the module that makes it, or in groups."""

    def __init__(self, name: str, about: str, groups: Sequence[Group] = ()) -> None:
        self.groups = groups
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
        """Do what the command line says.

        Exits: 1 with diagnostics on standard error, 2 for wrong usage, 130 when interrupted.
        """
        name = sys.argv[1] if len(sys.argv) > 1 else ""
        for group in self.groups:
            if name in group.commands:
                __import__(group.module)
        words = sys.argv[2:]
        if words and f"{name} {words[0]}" in self._commands:  # a command of two words
            name, words = f"{name} {words[0]}", words[1:]
        if name not in self._commands:
            self._explain(name if any(of.startswith(f"{name} ") for of in self._commands) else "")
        function, arguments = self._commands[name]
        argparse = import_argparse()
        parser = argparse.ArgumentParser(
            f"{self._name} {name}",
            description=_first_line(function),
            epilog=_other_lines(function),
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=_columns() - 2),
            allow_abbrev=False,
        )
        for names, settings, _ in arguments:
            parser.add_argument(*names, **settings)
        words = _joined(words, {name for names, _, dashes in arguments if dashes for name in names})
        try:
            function(**vars(parser.parse_args(words)))
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

    def _explain(self, first: str) -> NoReturn:
        """Answer `--help` and `--version`, and a command line that names no command.

        `first` is the first word of commands of two, if that is what it says.
        """
        argparse = import_argparse()
        for group in self.groups:
            __import__(group.module)
        name, words = f"{self._name} {first}".rstrip(), sys.argv[2 if first else 1 :]
        parser = argparse.ArgumentParser(
            name,
            usage=f"{name} [-h]{'' if first else ' [--version]'} COMMAND ...",
            description="" if first else self._about,
            epilog="\n".join(self._listing(first)),
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=_columns() - 2),
            allow_abbrev=False,
        )
        if not first:
            version = f"{self._name} {_version()}" if "--version" in words else ""
            parser.add_argument(
                "--version", action="version", version=version, help="show the version and exit"
            )
        commands = parser.add_subparsers(metavar="COMMAND", required=True, help=argparse.SUPPRESS)
        for of in self._commands:
            if of.startswith(f"{first} ".lstrip()):
                commands.add_parser(of.removeprefix(f"{first} "))
        if not words:
            parser.print_help()
            parser.exit(2)
        parser.parse_args(words)
        raise AssertionError("one of the arguments ended the process")

    def _listing(self, first: str) -> Iterator[str]:
        """Every command with a sentence, under its heading; or those whose first word of two this is."""
        import textwrap

        groups = self.groups or (Group("commands", "", tuple(self._commands)),)
        if first:
            names = tuple(name for name in self._commands if name.startswith(f"{first} "))
            groups = (Group("commands", "", names),)
        wide = _columns() - 2
        column = max(len(name) for name in self._commands) + 4
        for i, group in enumerate(groups):
            yield from ["", f"{group.heading}:"][i == 0 :]
            for name in group.commands:
                said = textwrap.wrap(_first_line(self._commands[name][0]), max(wide - column, 20))
                yield f"  {name:<{column - 2}}{said[0] if said else ''}".rstrip()
                yield from (" " * column + line for line in said[1:])


def _joined(words: list[str], names: set[str]) -> list[str]:
    """`--sort -age` as `--sort=-age`, for options of these names."""
    found: list[str] = []
    for word in words:
        if found and found[-1] in names and word.startswith("-"):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _columns() -> int:
    """How wide the terminal is, as `shutil` tells, which brings much else along."""
    with contextlib.suppress(KeyError, ValueError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with contextlib.suppress(ValueError, OSError):
        if sys.__stdout__ is not None:
            return os.get_terminal_size(sys.__stdout__.fileno()).columns or _COLUMNS
    return _COLUMNS


def _first_line(function: Callable[..., None]) -> str:
    return (function.__doc__ or "").partition("\n\n")[0]


def _other_lines(function: Callable[..., None]) -> str:
    """What a docstring says after its first paragraph, as it stands there."""
    lines = (function.__doc__ or "").partition("\n\n")[2].rstrip().splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines)


def _version() -> str:
    from importlib.metadata import version

    return version("flow-toolchain")
