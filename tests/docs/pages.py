"""What the written pages say that can be held against the code: command lines, targets of make, variables."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import typer
from generate.commands import environment_of, programs
from generate.settings import variables_of
from generate.sources import REPOSITORY

from configs.settings import Settings

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
PLACEHOLDER = re.compile(r"\$|\.\.\.|^[A-Z][A-Z_]*$")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
VARIABLE = re.compile(r"PENANCE_[A-Z]+(?:_[A-Z]+)*")
FOLDERS = ("configs/", "docs/", "k8s/", "load_tests/", "tests/")


class Line(NamedTuple):
    """A line of shell, and where it stands."""

    page: str
    text: str


def shell_lines(markdown: str) -> Iterator[str]:
    """Lines of all `sh` blocks; those that go on on the next line are one."""
    for block in FENCE.finditer(markdown):
        if block["language"] == "sh":
            yield from filter(None, map(str.strip, block["body"].replace("\\\n", " ").split("\n")))


def inline_code(markdown: str) -> Iterator[str]:
    yield from INLINE.findall(FENCE.sub("", markdown))


def all_lines() -> list[Line]:
    return [
        Line(str(path.relative_to(REPOSITORY)), line)
        for path in PAGES
        for line in shell_lines(path.read_text(encoding="utf-8"))
    ]


def faults_of_line(line: str) -> list[str]:
    """What is wrong with a line of shell, as far as the product is concerned."""
    return [fault for words in _commands(line) for fault in _faults_of_command(words)]


def faults_of_inline(code: str) -> list[str]:
    """The same of a bit of code in running text, which may leave out what a command needs."""
    words = code.split()
    if not words or words[0] not in programs():
        return []
    command: Any = programs()[words[0]]
    faults = []
    for word in words[1:]:
        name = word.partition("=")[0]
        if name.startswith("--"):
            if name not in _option_names(command):
                faults.append(f"{code}: no option {name}")
        elif hasattr(command, "commands") and re.fullmatch(r"[a-z-]+", word):
            inner = command.commands.get(word)
            if inner is None:
                faults.append(f"{code}: no command {word}")
                break
            command = inner
    return faults


@cache
def known_variables() -> frozenset[str]:
    """Every `PENANCE_` variable that anything reads."""
    found = {variable for field in Settings.model_fields for variable in variables_of(field)}
    for command in programs().values():
        found |= environment_of(command).keys()
    compose = (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")
    found |= set(re.findall(r"\$\{(PENANCE_\w+)", compose))
    for path in (REPOSITORY / "tests").rglob("*.py"):
        found |= set(re.findall(r'"(PENANCE_\w+)" not in os\.environ', path.read_text(encoding="utf-8")))
    return frozenset(found)


def unknown_variables(markdown: str) -> set[str]:
    return set(VARIABLE.findall(markdown)) - known_variables()


@cache
def makefile() -> str:
    return (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def faults_of_make(words: list[str]) -> list[str]:
    """Targets that `make` does not have, and variables that it does not look at."""
    faults = []
    for word in words:
        name, given, _ = word.partition("=")
        if given and f"$({name}" not in makefile() and f"{name} ?=" not in makefile():
            faults.append(f"make looks at no {name}")
        elif not given and not re.search(rf"^{re.escape(word)}:", makefile(), re.MULTILINE):
            faults.append(f"make has no target {word}")
    return faults


def _commands(line: str) -> Iterator[list[str]]:
    """The simple commands of a line: words, without redirections, assignments and what runs them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) <= set("();<>|&"):
            if token.strip("<>"):
                yield _unwrapped(words)
                words = []
        else:
            words.append(token)


def _unwrapped(words: list[str]) -> list[str]:
    """The command itself, behind assignments, `sudo`, and containers that it is run in."""
    while words and (ASSIGNMENT.match(words[0]) or words[0] in ("sudo", "export")):
        words = words[1:]
    if words[:1] == ["kubectl"] and "exec" in words and "--" in words:
        return words[words.index("--") + 1 :]
    if words[:3] == ["docker", "compose", "exec"]:
        return words[4:]
    return words


def _faults_of_command(words: list[str]) -> list[str]:
    if not words:
        return []
    faults = [
        f"no {word} in the repository"
        for word in words
        if word.startswith(FOLDERS) and not (REPOSITORY / word.partition("::")[0]).exists()
    ]
    program = Path(words[0]).name
    if program == "make":
        return faults + faults_of_make(words[1:])
    if (
        program in ("python", "python3")
        and words[1:2] == ["-m"]
        and importlib.util.find_spec(words[2]) is None
    ):
        return [*faults, f"no module {words[2]}"]
    if program.startswith("penance-"):
        if program not in programs():
            return [*faults, f"no program {program}"]
        faults += _faults_of_arguments(programs()[program], program, words[1:])
    return faults


def _faults_of_arguments(command: Any, name: str, words: list[str]) -> list[str]:
    """What click would say, apart from files and folders that only the reader has."""
    context = typer.Context(command, info_name=name)
    parser = command.make_parser(context)
    if hasattr(command, "commands"):
        parser.allow_interspersed_args = False
    try:
        given, rest, _ = parser.parse_args(list(words))
    except Exception as error:  # the classes of errors are in a private part of typer
        return [f"{name}: {getattr(error, 'message', error)}"]
    if given.get("help"):
        return []
    faults = []
    for parameter in command.params:
        value = given.get(parameter.name)
        values = value if isinstance(value, list | tuple) else [value] * isinstance(value, str)
        if parameter.required and not values:
            faults.append(f"{name}: {parameter.name} is missing")
        kind = parameter.type_descriptor.annotation
        for text in values:
            if kind in (int, float) or (isinstance(kind, type) and issubclass(kind, Enum)):
                try:
                    _ = PLACEHOLDER.search(text) or kind(text)
                except ValueError as error:
                    faults.append(f"{name}: {parameter.name}: {error}")
    if not hasattr(command, "commands"):
        return faults + [f"{name}: nothing is meant by {word}" for word in rest]
    if not rest or rest[0] not in command.commands:
        return [*faults, f"{name}: no command {rest[0] if rest else 'is given'}"]
    return faults + _faults_of_arguments(command.commands[rest[0]], f"{name} {rest[0]}", rest[1:])


def _option_names(command: Any) -> set[str]:
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own | {"--help"}
