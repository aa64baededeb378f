"""The command line, from the typer applications that `pyproject.toml` names."""

from __future__ import annotations

import importlib
import re
import tomllib
from functools import cache
from typing import Any

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from generate.sources import REPOSITORY

_COMPLETION = re.compile(r"^\* `--(install|show)-completion`.*\n", re.MULTILINE)
_EXAMPLES = re.compile(r"(?:^  \S.*\n)+", re.MULTILINE)
_BOLD = re.compile(r"\[/?bold\]")
_UNWRAPPED = re.compile(r"^\x08\n", re.MULTILINE)  # says to click: keep these lines as they are


@cache
def programs() -> dict[str, Any]:
    """Every program by name, as click knows it (`typer` carries a click of its own)."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {name: get_command(_application(entry)) for name, entry in project["scripts"].items()}


def environment_of(command: Any) -> dict[str, str]:
    """Environment variables that stand for options, with what they say, of a command and those below it."""
    found = {
        variable: parameter.help or ""
        for parameter in command.params
        for variable in _names(getattr(parameter, "envvar", None))
    }
    for inner in getattr(command, "commands", {}).values():
        found |= environment_of(inner)
    return found


def command_page(name: str, command: Any) -> str:
    """One program with all its commands."""
    _summarise(command)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name=name), name=name, title=name)
    text = _UNWRAPPED.sub("", _COMPLETION.sub("", _BOLD.sub("**", text)))
    return _EXAMPLES.sub(
        lambda lines: f"```console\n{re.sub('^  ', '', lines[0], flags=re.MULTILINE)}```\n", text
    )


def _application(entry: str) -> typer.Typer:
    module_name, _, attribute = entry.partition(":")
    module = importlib.import_module(module_name)
    found = getattr(module, attribute)
    return found if isinstance(found, typer.Typer) else module.app


def _summarise(command: Any) -> None:
    """Lists of commands say the first sentence whole, not its first 45 letters."""
    for inner in getattr(command, "commands", {}).values():
        if inner.help:
            inner.short_help = " ".join(inner.help.split("\n\n")[0].split())
        _summarise(inner)


def _names(variables: str | list[str] | None) -> list[str]:
    return [variables] if isinstance(variables, str) else list(variables or ())
