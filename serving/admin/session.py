"""How a command acts: on the database itself, or over HTTP, and how refusals end it."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from serving.admin.administrator import Administrator
    from serving.admin.remote import RemoteAdministrator

Result = TypeVar("Result")


def run(
    context: typer.Context, act: Callable[[Administrator | RemoteAdministrator], Awaitable[Result]]
) -> Result:
    """Does one act; refusals end the command with one line."""
    from serving.admin.remote import RemoteError
    from serving.problems import RequestProblem, StateUnavailable

    async def done() -> Result:
        async with _administrator(context.obj) as administrator:
            return await act(administrator)

    try:
        return asyncio.run(done())
    except StateUnavailable as error:
        typer.echo(
            "penance-admin: the database does not answer. Start the application (serve run serving.app) or "
            "set REDIS_URL to the Redis it uses; or act over HTTP with --server and --key.",
            err=True,
        )
        raise typer.Exit(1) from error
    except (RequestProblem, RemoteError) as error:
        typer.echo(f"penance-admin: {error}", err=True)
        raise typer.Exit(1) from error


@asynccontextmanager
async def _administrator(
    remote: tuple[str, str] | None,
) -> AsyncIterator[Administrator | RemoteAdministrator]:
    if remote is not None:
        from serving.admin.remote import RemoteAdministrator

        async with RemoteAdministrator(*remote) as administrator:
            yield administrator
        return
    from configs.rates import load_rates
    from configs.settings import Settings
    from serving.admin.administrator import Administrator
    from serving.options import load_options
    from serving.state.embedded import database_url
    from serving.state.store import StateStore

    settings = Settings()
    store = StateStore.of(settings, database_url(settings))
    try:
        options, rates = load_options(settings.serving_file), load_rates(settings.rates_file)
        yield Administrator(store, options, rates, f"offline:{getpass.getuser()}", settings)
    finally:
        await store.close()
