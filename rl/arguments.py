"""Options that several commands share, and how their errors reach people: one line, and exit status 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import configs

TRAIN, EVALUATE = "penance-train", "penance-evaluate"
"""The programs, as `told_in_one_line` names them."""

RECIPES = Path(configs.__file__).with_name("recipes")
RecipeFile = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="YAML file of the recipe")]
Data = Annotated[
    Path, typer.Option(envvar="PENANCE_DATA", exists=True, file_okay=False, help="folder of data")
]
BundleFolder = Annotated[Path, typer.Option(exists=True, file_okay=False, help="folder of the bundle")]
ProfileFolder = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="folder that penance-profile recorded")
]
IndexFile = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="TSV of penance-profile index")]
Timing = Annotated[str, typer.Option(help="length and rate of segments: 1s-15fps, 1s-30fps, 2s-15fps")]
JsonFile = Annotated[Path | None, typer.Option(help="also write the figures to this file")]


@contextmanager
def told_in_one_line(program: str) -> Iterator[None]:
    """What was wrong with what people gave, without a traceback."""
    from clients.errors import SourceError

    try:
        yield
    except (SourceError, ValueError, OSError) as error:
        typer.echo(f"{program}: {error}", err=True)
        raise typer.Exit(1) from error
