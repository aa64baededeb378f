"""The HTTP side of the protocol, put together: routers by purpose, problem documents, bounds on bodies."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from clients.protocol import PROBLEM_TYPE
from serving.ingress.body import read_body
from serving.ingress.routes import (
    alerts,
    bundle,
    bundles,
    cameras,
    health,
    keys,
    limits,
    live,
    page,
    promise,
    results,
    segments,
    transitions,
    uploads,
    usage,
    variants,
)
from serving.ingress.services import ServicesSource
from serving.problems import PROBLEM_URN, Invalid, RequestProblem, StateUnavailable

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID_PATTERN = r"[A-Za-z0-9._:+/=-]{1,128}"
MAX_JSON = 64 * 1024
JSON_TIMEOUT_S = 10.0
_SEGMENT = re.compile(r"/v1/clients/[^/]+/segments/[^/]+")
ROUTERS = (
    health.router,
    variants.router,
    bundle.router,
    bundles.router,
    cameras.router,
    segments.router,
    uploads.router,
    results.router,
    live.router,
    page.router,
    keys.router,
    limits.router,
    usage.router,
    promise.router,
    alerts.router,
    transitions.router,
)


def build_api(services: ServicesSource) -> FastAPI:
    """The whole interface over an ingress replica's services."""
    api = FastAPI(
        title="Penance",
        version="1",
        description="Video semantic segmentation for fleets of low-power cameras. Every request but the "
        "health checks carries `Authorization: Bearer id.secret`. Refusals are RFC 9457 problem documents. "
        "Every answer has an `X-Request-ID`, yours if you sent one: the logs know the request by it.",
    )
    api.state.services = services
    for router in ROUTERS:
        api.include_router(router)
    api.exception_handler(RequestProblem)(_refuse)
    api.exception_handler(RequestValidationError)(_refuse_invalid)
    api.exception_handler(HTTPException)(_refuse_route)
    api.middleware("http")(_receive)
    return api


async def _refuse(request: Request, problem: RequestProblem) -> JSONResponse:
    request.state.refused = problem.slug
    return JSONResponse(problem.document(), problem.status, problem.headers(), media_type=PROBLEM_TYPE)


async def _refuse_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    faults = [
        f"{'.'.join(str(part) for part in e['loc'][1:]) or e['loc'][0]}: {e['msg']}" for e in error.errors()
    ]
    detail = "; ".join(faults)[:2000]
    return await _refuse(request, Invalid(f"{detail}. See /docs for what is expected here."))


async def _refuse_route(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 400:  # FastAPI's word for JSON that its parser gave up on
        return await _refuse(
            request, Invalid("The body is not JSON that can be read. See /docs for an example.")
        )
    document = {"type": f"{PROBLEM_URN}http", "title": error.detail, "status": error.status_code}
    document["detail"] = (
        f"{request.method} {request.url.path[:200]}: see /docs for the routes and methods there are."
    )
    return JSONResponse(document, error.status_code, error.headers, media_type=PROBLEM_TYPE)


async def _receive(request: Request, call_next: Any) -> Response:
    """Notes when the request came, and bounds JSON bodies, which FastAPI reads whole before validating.
    Segments, audits and bundles are no JSON: their routes bound them as they read. Refused segments are
    counted here, whatever refused them."""
    request.state.arrived = time.perf_counter()
    request_id = request.headers.get(REQUEST_ID_HEADER)  # Serve gives one to each request that has none
    if request_id is not None and re.fullmatch(REQUEST_ID_PATTERN, request_id) is None:
        return await _refuse(
            request, Invalid(f"{REQUEST_ID_HEADER} must match {REQUEST_ID_PATTERN}. Leave it out to get one.")
        )
    if request.method in ("POST", "PATCH", "PUT") and not _bounds_its_own_body(request.url.path):
        try:
            # starlette's own cache of the body
            request._body = await read_body(request, MAX_JSON, JSON_TIMEOUT_S)
        except RequestProblem as problem:
            return await _refuse(request, problem)
    response: Response = await call_next(request)
    refused = getattr(request.state, "refused", None)
    if refused is not None and request.method == "PUT" and _SEGMENT.fullmatch(request.url.path):
        await _count_refusal(request, refused)
    return response


def _bounds_its_own_body(path: str) -> bool:
    return "/segments/" in path or path == "/v1/bundles"


async def _count_refusal(request: Request, reason: str) -> None:
    """Counts it, unless the replica never reached the store yet and can count nothing."""
    camera, seq = request.url.path.split("/")[3:6:2]
    with suppress(StateUnavailable):
        services = await cast(ServicesSource, request.app.state.services)()
        tenant = getattr(request.state, "tenant", None)
        await services.telemetry.refused(tenant, camera[:64], seq[:16], reason)
