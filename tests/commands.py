"""Reads command lines out of texts and checks them against the real commands, without running anything."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from geosemi.cli.main import app

FENCE = re.compile(r"^```(?:console|bash|sh|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# newer typer ships a click of its own; this is the root of the errors that it really raises
WrongCommand = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
INLINE = re.compile(r"`([^`\n]+)`")


def group() -> Any:
    """The `geosemi` command as a click group."""
    return typer.main.get_command(app)


def names() -> list[str]:
    """Every registered command."""
    return sorted(group().commands)


def shell_lines(block: str) -> Iterator[list[str]]:
    """Words of every command in a shell block: prompts, comments and continuations are resolved, `a && b` is two."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        command: list[str] = []
        for word in [*words, ";"]:
            if word in {"&&", "||", "|", ";", "&"}:
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def commands_in_markdown(text: str) -> Iterator[list[str]]:
    """Words of every command in shell blocks, and of inline code that is a whole `geosemi` command with arguments."""
    for block in FENCE.findall(text):
        yield from shell_lines(block)
    for code in INLINE.findall(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"geosemi \w+ .", code) and "…" not in code and "..." not in code:
            yield shlex.split(code)


def parse(words: list[str]) -> None:
    """Check a `geosemi` command line as click would before running it.

    Raises:
        WrongCommand: no such command or option, a wrong type, a missing argument.
    """
    assert words[0] == "geosemi"
    arguments = words[1:]
    parent = group().make_context("geosemi", list(arguments))
    if "--help" in arguments:
        return
    name, command, rest = group().resolve_command(parent, arguments)
    assert command is not None
    command.make_context(name, rest, parent=parent)


def missing_files(words: list[str], root: Path, *, folders: tuple[str, ...]) -> list[str]:
    """Arguments that name files of the repository which are not there."""
    values = [word.rpartition("=")[2] for word in words]
    named = [value for value in values if value.startswith(tuple(f"{folder}/" for folder in folders))]
    return [value for value in named if not (root / value).exists() and not list(root.glob(value))]
