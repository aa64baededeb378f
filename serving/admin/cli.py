"""`penance-admin`: tenants' keys, limits, usage and logs on the command line, against Redis or over HTTP."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from clients.administration import KEY_ID_PATTERN, MAX_PAGE, TENANT_PATTERN
from clients.usage import MONTH_PATTERN
from configs.faults import describe_faults
from serving.admin.bundle_cli import bundles
from serving.admin.session import run

if TYPE_CHECKING:
    from serving.admin.administrator import Administrator
    from serving.admin.remote import RemoteAdministrator

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
webhook = typer.Typer(no_args_is_help=True, help="Where a tenant's alerts are delivered.")
app.add_typer(webhook, name="webhook")
app.add_typer(bundles, name="bundle")

KeyId = Annotated[str, typer.Argument(help="what stands before the dot of the key")]
Tenant = Annotated[str | None, typer.Option(help="only this tenant's")]


class IssuedScope(StrEnum):
    """What a key made here may be good for; camera tokens come from registering a camera."""

    TENANT = "tenant"
    READ_ONLY = "read-only"
    OPERATOR = "operator"


class KeptMaps(StrEnum):
    """Label maps that are kept within a tenant's window."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@app.callback()
def main_options(
    context: typer.Context,
    server: Annotated[str | None, typer.Option(envvar="PENANCE_SERVER", help="act over HTTP there")] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="PENANCE_OPERATOR_KEY", help="an operator's key (or a tenant's), for --server"),
    ] = None,
) -> None:
    """Administer tenants: their keys, limits and usage.

    Without --server it acts on the database itself: REDIS_URL, or the one in the state folder while the
    application runs. That is how the first operator's key is made.
    """
    if (server is None) != (key is None):
        raise typer.BadParameter("acting over HTTP takes both --server and --key (an operator's key)")
    context.obj = None if server is None or key is None else (server, key)


@app.command()
def create(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Argument(help="whose key; none for an operator's")] = None,
    scope: Annotated[IssuedScope, typer.Option(help="what the key is good for")] = IssuedScope.TENANT,
    label: Annotated[str, typer.Option(help="for people: who holds it")] = "",
) -> None:
    """Creates a key and prints it, this once. A tenant exists as soon as it has one."""
    from clients.administration import NewKey

    try:
        wanted = NewKey.model_validate({"tenant": tenant, "scope": scope.value, "label": label})
    except ValidationError as error:
        raise typer.BadParameter(describe_faults(error)) from error
    typer.echo(run(context, lambda administrator: administrator.create(wanted)).key)


@app.command("list")
def list_keys(context: typer.Context, tenant: Tenant = None) -> None:
    """Lists keys, one a line: id, tenant, scope, state, label."""

    async def lines(administrator: Administrator | RemoteAdministrator) -> None:
        after: str | None = ""
        while after is not None:
            page = await administrator.list(tenant, after, MAX_PAGE)
            for key in page.keys:
                state = "in force" if key.revoked_at is None else "revoked"
                typer.echo("\t".join((key.id, key.tenant or "-", key.scope, state, key.label)))
            after = page.next

    run(context, lines)


@app.command()
def rotate(context: typer.Context, key_id: KeyId) -> None:
    """Ends a key and prints the one in its place, this once."""
    _check(key_id)
    typer.echo(run(context, lambda administrator: administrator.rotate(key_id)).key)


@app.command()
def revoke(context: typer.Context, key_id: KeyId) -> None:
    """Ends a key or a camera's token, everywhere within 60 s."""
    _check(key_id)
    run(context, lambda administrator: administrator.revoke(key_id))


@app.command()
def limits(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="whose limits")],
    cameras: Annotated[int | None, typer.Option(help="cameras it may have")] = None,
    segments_per_s: Annotated[float | None, typer.Option(help="segments a second")] = None,
    gflops_per_s: Annotated[float | None, typer.Option(help="GFLOPs a second")] = None,
    bytes_per_s: Annotated[float | None, typer.Option(help="bytes a second")] = None,
    share: Annotated[float | None, typer.Option(help="weight when segments queue")] = None,
    lenience: Annotated[
        float | None, typer.Option(help="mIoU by which its targets may be lowered under pressure")
    ] = None,
    failure_rate: Annotated[
        float | None, typer.Option(help="promised share of segments that fall short of their target")
    ] = None,
    silent_after: Annotated[
        float | None, typer.Option(help="seconds without a segment that make a camera silent")
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="first forget what was set before")] = False,
) -> None:
    """Prints a tenant's limits as JSON, after changing those that are given."""
    from clients.administration import LimitsPatch

    given = {
        "cameras": cameras,
        "segments_per_s": segments_per_s,
        "gflops_per_s": gflops_per_s,
        "bytes_per_s": bytes_per_s,
        "share": share,
        "lenience": lenience,
        "failure_rate": failure_rate,
        "silent_after_s": silent_after,
    }
    _check_tenant(tenant)
    try:
        patch = LimitsPatch.model_validate(
            {name: value for name, value in given.items() if default or value is not None}
        )
    except ValidationError as error:
        raise typer.BadParameter(describe_faults(error)) from error
    typer.echo(run(context, lambda administrator: administrator.limits(tenant, patch)).model_dump_json())


@app.command()
def retention(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="whose results")],
    window: Annotated[float | None, typer.Option(help="seconds that results can be read again")] = None,
    label_maps: Annotated[
        KeptMaps | None, typer.Option(help="which of a segment's label maps are kept for readers")
    ] = None,
) -> None:
    """Prints as JSON what a tenant's results leave behind, after changing what is given; that is logged."""
    from clients.results import RetentionPatch

    _check_tenant(tenant)
    given = {"window_s": window, "label_maps": None if label_maps is None else label_maps.value}
    try:
        patch = RetentionPatch.model_validate(
            {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        raise typer.BadParameter(describe_faults(error)) from error
    typer.echo(run(context, lambda administrator: administrator.retention(tenant, patch)).model_dump_json())


@app.command()
def usage(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="whose usage")],
    month: Annotated[str | None, typer.Option(help="like 2026-11 (UTC); without it the running one")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="a table instead of JSON")] = False,
) -> None:
    """Prints a tenant's usage of a month: by hour, and by camera with its price."""
    _check_tenant(tenant)
    if month is not None and re.fullmatch(MONTH_PATTERN, month) is None:
        raise typer.BadParameter(f"{month!r} is no month: write it like 2026-11")
    report = run(context, lambda administrator: administrator.usage(tenant, month))
    typer.echo(report.csv() if csv else report.model_dump_json(indent=1), nl=not csv)


@app.command()
def audit(context: typer.Context, tenant: Tenant = None) -> None:
    """Prints what was done with keys, or with a tenant's cameras, one act a line as JSON."""

    async def lines(administrator: Administrator | RemoteAdministrator) -> None:
        after: str | None = ""
        while after is not None:
            page = await administrator.audit(tenant, after, MAX_PAGE)
            for entry in page.entries:
                typer.echo(entry.model_dump_json())
            after = page.next

    run(context, lines)


@app.command()
def target(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="whose camera")],
    name: Annotated[str, typer.Argument(help="the camera's name")],
    miou: Annotated[float, typer.Argument(min=0, max=1, help="its new target mIoU")],
) -> None:
    """Changes a camera's target while it runs, and prints its state. Over HTTP --key is the tenant's own."""
    _check_tenant(tenant)
    done = run(context, lambda administrator: administrator.retarget(tenant, name, miou))
    typer.echo(done.model_dump_json())


@webhook.command("set")
def set_webhook(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="whose alerts")],
    url: Annotated[str, typer.Argument(help="https:// address that takes them")],
    secret: Annotated[
        str | None,
        typer.Option(envvar="PENANCE_WEBHOOK_SECRET", help="what deliveries are signed with; else made"),
    ] = None,
) -> None:
    """Has a tenant's alerts delivered, and prints the secret that signs them, this once."""
    from clients.alerts import NewWebhook

    _check_tenant(tenant)
    try:
        wanted = NewWebhook(url=url, secret=secret)
    except ValidationError as error:
        raise typer.BadParameter(describe_faults(error)) from error
    typer.echo(run(context, lambda administrator: administrator.set_webhook(tenant, wanted)).secret)


@webhook.command("show")
def show_webhook(context: typer.Context, tenant: Annotated[str, typer.Argument(help="whose alerts")]) -> None:
    """Prints as JSON where a tenant's alerts go and how that goes, without the secret."""
    _check_tenant(tenant)
    typer.echo(run(context, lambda administrator: administrator.webhook(tenant)).model_dump_json())


@webhook.command("clear")
def clear_webhook(
    context: typer.Context, tenant: Annotated[str, typer.Argument(help="whose alerts")]
) -> None:
    """Has a tenant's alerts delivered no more; they are still listed by GET /v1/alerts."""
    _check_tenant(tenant)
    run(context, lambda administrator: administrator.clear_webhook(tenant))


def _check(key_id: str) -> None:
    """Refuses what is no id, above all a whole key, before it travels anywhere."""
    if re.fullmatch(KEY_ID_PATTERN, key_id) is None:
        raise typer.BadParameter("give the key's id: what stands before its dot")


def _check_tenant(tenant: str) -> None:
    if re.fullmatch(TENANT_PATTERN, tenant) is None:
        raise typer.BadParameter(f"{tenant!r} is no tenant's name: small letters, digits and hyphens")


def main() -> None:
    """Entry point of `penance-admin`."""
    app()
