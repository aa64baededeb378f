"""What the routes of one ingress replica work with, and whom a request's key lets reach what.

Routes are plain functions; they get `Services` and the request's principal as FastAPI dependencies, so the
whole HTTP side can also run without Ray.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from clients.results import Retention
from configs.rates import RateCard
from configs.settings import Settings
from serving.admin.administrator import Administrator
from serving.bundles.readiness import Readiness
from serving.bundles.served import ServedBundles
from serving.ingress.audits import Auditor
from serving.ingress.places import Places
from serving.ingress.query import CameraId
from serving.ingress.segments import SegmentService
from serving.keys import Keyring, Principal
from serving.options import ServingOptions
from serving.problems import NotFound
from serving.quota import Quotas
from serving.state.store import StateStore
from serving.telemetry.segments import SegmentTelemetry
from serving.tenant_cache import TenantCache

NO_CAMERA = "There is no such camera for this key. Register it with POST /v1/clients."


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the routes; one instance an ingress replica."""

    bundles: ServedBundles
    readiness: Readiness
    settings: Settings
    options: ServingOptions
    rates: RateCard
    store: StateStore
    keyring: Keyring
    quotas: Quotas
    segments: SegmentService
    auditor: Auditor
    telemetry: SegmentTelemetry
    retention: TenantCache[Retention]
    listeners: Places
    uploads: Places


ServicesSource = Callable[[], Awaitable[Services]]
"""Gives the services, once they are there. Raises `StateUnavailable` while the store cannot be reached."""


async def services_of(connection: HTTPConnection) -> Services:
    """The services of the replica that this request or connection came to."""
    return await cast(ServicesSource, connection.app.state.services)()


TheServices = Annotated[Services, Depends(services_of)]


async def principal_of(connection: HTTPConnection, services: TheServices) -> Principal:
    """Whom the key of a request or connection speaks for, as of now."""
    principal = await services.keyring.authenticate(connection.headers.get("authorization"))
    connection.state.tenant = principal.tenant
    return principal


ThePrincipal = Annotated[Principal, Depends(principal_of)]
"""Whom the request's key speaks for."""


async def camera_principal(camera: CameraId, principal: ThePrincipal, services: TheServices) -> Principal:
    """The principal, if the camera is theirs; another's camera does not exist for them."""
    if principal.scope == "operator":
        allowed = False
    elif principal.scope == "camera":
        allowed = principal.camera == camera
    else:
        allowed = await services.store.owner(camera) == principal.tenant
    if not allowed:
        raise NotFound(NO_CAMERA)
    return principal


CameraPrincipal = Annotated[Principal, Depends(camera_principal)]
"""Whom the request's key speaks for, where the camera in its path is theirs."""


def administrator_for(principal: Principal, services: Services) -> Administrator:
    """Acts in the name of the key; whether it may, the caller has asked."""
    return Administrator(
        services.store, services.options, services.rates, principal.key_id, services.settings
    )


async def _administrator(principal: ThePrincipal, services: TheServices) -> Administrator:
    principal.require_operator()
    return administrator_for(principal, services)


TheAdministrator = Annotated[Administrator, Depends(_administrator)]
"""Acts in the name of the operator whose key the request has; other keys are refused."""
