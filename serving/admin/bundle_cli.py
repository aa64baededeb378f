"""`penance-admin bundle`: pushes bundles to a running application, puts them in force, takes them back."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.rollout import BUNDLE_ID_PATTERN, SHIPPED
from serving.admin.session import run

if TYPE_CHECKING:
    from clients.rollout import BundleStanding, Plan
    from serving.admin.administrator import Administrator
    from serving.admin.remote import RemoteAdministrator

    AnyAdministrator = Administrator | RemoteAdministrator

bundles = typer.Typer(
    no_args_is_help=True, help="Bundles of models: pushed, put in force, tried, taken back."
)

POLL_S = 0.5
BundleId = Annotated[str, typer.Argument(help="its id, or `shipped`: the one the application began with")]


@bundles.command("push")
def push(
    context: typer.Context, directory: Annotated[Path, typer.Argument(help="folder of the bundle")]
) -> None:
    """Verifies, signs and stores a bundle, and prints its id. Nothing else changes."""
    from configs.bundle import BundleError
    from serving.bundles.archive import pack

    try:
        archive = pack(directory)
    except BundleError as error:
        typer.echo(f"penance-admin: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(run(context, lambda administrator: administrator.bundles.push(archive)).id)


@bundles.command("activate")
def activate(context: typer.Context, bundle: BundleId) -> None:
    """Puts a bundle in force once all replicas have loaded it, and waits for that; promotes one on trial."""
    _check(bundle)

    async def act(administrator: AnyAdministrator) -> Plan:
        return await _settled(administrator, await administrator.bundles.activate(bundle))

    _tell(run(context, act))


@bundles.command("canary")
def canary(
    context: typer.Context,
    bundle: BundleId,
    share: Annotated[float, typer.Option(min=0.0001, max=0.5, help="of all cameras")] = 0.1,
) -> None:
    """Tries a bundle with a share of the cameras. Audits that show it to be worse take it back."""
    _check(bundle)

    async def act(administrator: AnyAdministrator) -> Plan:
        return await _settled(administrator, await administrator.bundles.canary(bundle, share))

    _tell(run(context, act))


@bundles.command("rollback")
def rollback(context: typer.Context) -> None:
    """Undoes the latest step: ends what is prepared or on trial, else goes back to the bundle before."""

    async def act(administrator: AnyAdministrator) -> Plan:
        return await _settled(administrator, await administrator.bundles.roll_back())

    _tell(run(context, act))


@bundles.command("list")
def list_bundles(context: typer.Context) -> None:
    """Lists bundles, one a line: id, state, bytes, replicas that hold it; then a trial, as JSON."""
    standing = run(context, lambda administrator: administrator.bundles.standing())
    for line in lines(standing):
        typer.echo(line)
    if standing.canary is not None:
        typer.echo(standing.canary.model_dump_json())
    if standing.plan.problem:
        typer.echo(f"penance-admin: {standing.plan.problem}", err=True)


@bundles.command("key")
def key(context: typer.Context) -> None:
    """Prints the public key that signs bundles, for PENANCE_SIGNING_KEY of cameras."""
    typer.echo(run(context, lambda administrator: administrator.bundles.standing()).key)


@bundles.command("remove")
def remove(context: typer.Context, bundle: BundleId) -> None:
    """Takes a bundle out of the store; not one in force, on trial, or that a rollback goes back to."""
    _check(bundle)
    run(context, lambda administrator: administrator.bundles.remove(bundle))


def lines(standing: BundleStanding) -> list[str]:
    """One line a bundle, fields between tabs; the shipped one first."""
    plan, found = standing.plan, []
    shipped = sorted({replica.shipped for replica in standing.replicas})
    known = [(SHIPPED, name, 0) for name in shipped or [SHIPPED]]
    known += [(stored.id, stored.id, stored.size) for stored in standing.stored]
    for name, identity, size in known:
        holding = sum(identity in replica.held for replica in standing.replicas)
        shown = identity if name == identity else f"{identity} ({SHIPPED})"
        found.append(f"{shown}\t{_state(plan, name)}\t{size}\t{holding}/{len(standing.replicas)}")
    return found


def _state(plan: Plan, bundle: str) -> str:
    if bundle == plan.active:
        return "in force"
    if plan.canary is not None and bundle == plan.canary.bundle:
        return f"on trial with {plan.canary.share:g} of the cameras"
    if plan.preparing is not None and bundle == plan.preparing.bundle:
        return "being prepared"
    return "previous" if bundle == plan.previous else "-"


async def _settled(administrator: AnyAdministrator, plan: Plan) -> Plan:
    """The plan once nothing is being prepared any more."""
    while plan.preparing is not None:
        await asyncio.sleep(POLL_S)
        plan = (await administrator.bundles.standing()).plan
    return plan


def _tell(plan: Plan) -> None:
    """Says what came of it; a bundle that came to nothing ends the command with 1."""
    if plan.problem:
        typer.echo(f"penance-admin: {plan.problem}", err=True)
        raise typer.Exit(1)
    trial = "" if plan.canary is None else f", {plan.canary.bundle} on trial with {plan.canary.share:g}"
    typer.echo(f"{plan.active} in force{trial}")


def _check(bundle: str) -> None:
    if re.fullmatch(BUNDLE_ID_PATTERN, bundle) is None:
        raise typer.BadParameter(
            f"{bundle!r} is no bundle's id: penance-admin bundle list shows those there are"
        )
