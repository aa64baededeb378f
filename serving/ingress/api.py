"""The HTTP side of the protocol: routes, keys and problem documents. What a segment goes through is in
`segments.py`.

No `from __future__ import annotations` here: Ray sends this class to its replicas by value, and there
FastAPI could not find what names in strings stand for.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException

from clients.administration import AuditPage, IssuedKey, KeyPage, NewKey
from clients.protocol import (
    PROBLEM_TYPE,
    SEGMENT_TYPE,
    CameraPatch,
    CameraStatus,
    LadderEntry,
    Problem,
    Registered,
    Registration,
    SegmentAnswer,
    VariantInfo,
)
from configs.bundle import Bundle
from configs.settings import Settings
from serving.admin.administrator import Administrator
from serving.ingress.body import read_body
from serving.ingress.query import (
    AfterEntryQuery,
    AfterKeyQuery,
    BandwidthQuery,
    BundleQuery,
    CameraId,
    CapturedQuery,
    ConfigurationQuery,
    DeadlineQuery,
    DroppedQuery,
    KeyIdPath,
    LimitQuery,
    MasksQuery,
    SeqPath,
    TargetQuery,
    TenantQuery,
    check_configuration,
    parse_dropped,
)
from serving.ingress.segments import SegmentRequest, SegmentService
from serving.keys import Keyring, Principal, ensure_demo_key
from serving.problems import (
    PROBLEM_URN,
    Invalid,
    NotFound,
    RequestProblem,
    StateUnavailable,
    WrongBundle,
    WrongMediaType,
)
from serving.state.store import StateStore

logger = logging.getLogger("ray.serve")

MAX_JSON = 64 * 1024
NO_CAMERA = "There is no such camera for this key. Register it with POST /v1/clients."


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    document = {"model": Problem, "content": {PROBLEM_TYPE: {}}}
    return dict.fromkeys((401, *statuses, 503), document)


api = FastAPI(
    title="Penance",
    version="1",
    description="Video semantic segmentation for fleets of low-power cameras. Every request but the health "
    "checks carries `Authorization: Bearer id.secret`. Refusals are RFC 9457 problem documents.",
)


@api.exception_handler(RequestProblem)
async def _refuse(_: Request, problem: RequestProblem) -> JSONResponse:
    return JSONResponse(problem.document(), problem.status, problem.headers(), media_type=PROBLEM_TYPE)


@api.exception_handler(RequestValidationError)
async def _refuse_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    faults = [
        f"{'.'.join(str(part) for part in e['loc'][1:]) or e['loc'][0]}: {e['msg']}" for e in error.errors()
    ]
    detail = "; ".join(faults)[:2000]
    return await _refuse(request, Invalid(f"{detail}. See /docs for what is expected here."))


@api.exception_handler(HTTPException)
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


@api.middleware("http")
async def _bound_json_bodies(request: Request, call_next: Any) -> Response:
    """JSON bodies are small; FastAPI reads them whole before validating, so they are bounded here."""
    if request.method in ("POST", "PATCH"):
        try:
            request._body = await read_body(
                request, MAX_JSON, timeout_s=10
            )  # starlette's own cache of the body
        except RequestProblem as problem:
            return await _refuse(request, problem)
    response: Response = await call_next(request)
    return response


@serve.ingress(api)
class IngressReplica:
    """Replicas of the ingress. They hold no state that matters: any of them can go at any time."""

    def __init__(
        self,
        bundle_directory: Path,
        settings: Settings,
        variants: Sequence[DeploymentHandle[Any]],
        encoder: DeploymentHandle[Any],
        database: DeploymentHandle[Any] | None,
    ) -> None:
        self._bundle, self._settings = Bundle.load(bundle_directory), settings
        self._variants, self._encoder, self._database = variants, encoder, database
        self._ready: asyncio.Task[None] | None = None

    async def _start(self) -> None:
        """Connects to the state store; runs once, in the event loop that serves requests."""
        url = self._settings.redis_url or (await self._database.url.remote() if self._database else "")
        self._store = StateStore(url, self._settings.answers_kept, self._settings.lease_s)
        self._keyring = Keyring(self._store)
        self._segments = SegmentService(
            self._bundle, self._settings, self._store, self._variants, self._encoder
        )
        await ensure_demo_key(self._store, self._settings.key_file)

    async def _started(self) -> None:
        if self._ready is None or (self._ready.done() and self._ready.exception() is not None):
            self._ready = asyncio.create_task(self._start())
        await asyncio.shield(self._ready)

    async def check_health(self) -> None:
        """Serve calls this at the start and every few seconds: it connects as soon as the store is there.
        A store that is away makes answers refusals; it does not make this replica unhealthy."""
        try:
            await self._started()
        except StateUnavailable as problem:
            logger.warning("Not ready yet: %s", problem.detail)

    async def _principal(self, request: Request) -> Principal:
        await self._started()
        return await self._keyring.authenticate(request.headers.get("authorization"))

    async def _camera(self, request: Request, camera: str) -> Principal:
        """The principal, if the camera is theirs; another's camera does not exist for them."""
        principal = await self._principal(request)
        if principal.scope == "operator":
            allowed = False
        elif principal.scope == "camera":
            allowed = principal.camera == camera
        else:
            allowed = await self._store.owner(camera) == principal.tenant
        if not allowed:
            raise NotFound(NO_CAMERA)
        return principal

    async def _administrator(self, request: Request) -> Administrator:
        principal = await self._principal(request)
        principal.require_operator()
        return Administrator(self._store, principal.key_id)

    @api.get("/healthz", tags=["health"], summary="The process is up")
    async def healthz(self) -> dict[str, str]:
        return {"status": "ok"}

    @api.get(
        "/readyz", tags=["health"], summary="Segments can be accepted", responses={503: {"model": Problem}}
    )
    async def readyz(self) -> dict[str, str]:
        await self._started()
        await self._store.ping()
        return {"status": "ready", "bundle": self._bundle.id}

    @api.get("/v1/variants", tags=["fleet"], summary="The models of the bundle", responses=_refusals())
    async def variants(self, request: Request) -> list[VariantInfo]:
        await self._principal(request)
        return [
            VariantInfo(
                variant=index,
                name=variant.name,
                sparsity=variant.sparsity,
                parameters=variant.parameters,
                gflops_frame=tuple(flops / 1e9 for flops in variant.flops),
            )
            for index, variant in enumerate(self._bundle.manifest.variants)
        ]

    @api.post(
        "/v1/clients",
        status_code=201,
        tags=["cameras"],
        summary="Register a camera",
        responses=_refusals(403, 404, 413, 422),
    )
    async def register(self, request: Request, registration: Registration) -> Registered:
        """The same name again updates the camera, returns the same id and a new token for it."""
        principal = await self._principal(request)
        principal.require_tenant_key()
        camera = await self._store.register(principal.tenant, secrets.token_urlsafe(12), registration)
        token = await self._keyring.issue(Principal(principal.tenant, "camera", camera))
        await self._store.keys.record(principal.tenant, principal.key_id, "camera.register", camera)
        status = await self._store.status(camera)
        if status is None:
            raise NotFound("The camera was deleted while it was being registered. Register it again.")
        rungs = zip(self._bundle.ladder.rungs(), self._bundle.costs, strict=True)
        return Registered(
            id=camera,
            token=token,
            next_seq=status.next_seq,
            bundle=self._bundle.id,
            classes=self._bundle.manifest.classes,
            ladder=tuple(
                LadderEntry(configuration=c.index, scale=c.scale, qp=c.qp, variant=c.variant, cost=cost)
                for c, cost in rungs
            ),
            codec=self._bundle.manifest.codec,
        )

    @api.get("/v1/clients/{camera}", tags=["cameras"], summary="A camera's state", responses=_refusals(404))
    async def status(self, request: Request, camera: CameraId) -> CameraStatus:
        await self._camera(request, camera)
        status = await self._store.status(camera)
        if status is None:
            raise NotFound(NO_CAMERA)
        return status

    @api.patch(
        "/v1/clients/{camera}",
        tags=["cameras"],
        summary="Change a camera",
        responses=_refusals(403, 404, 422),
    )
    async def patch(self, request: Request, camera: CameraId, patch: CameraPatch) -> CameraStatus:
        principal = await self._camera(request, camera)
        principal.require_tenant_key()
        await self._store.keys.record(principal.tenant, principal.key_id, "camera.patch", camera)
        await self._store.patch(camera, patch)
        return await self.status(request, camera)

    @api.delete(
        "/v1/clients/{camera}",
        status_code=204,
        tags=["cameras"],
        summary="Forget a camera",
        responses=_refusals(403, 404),
    )
    async def delete(self, request: Request, camera: CameraId) -> None:
        principal = await self._camera(request, camera)
        principal.require_tenant_key()
        await self._store.keys.record(principal.tenant, principal.key_id, "camera.delete", camera)
        await self._store.delete(principal.tenant, camera)

    @api.put(
        "/v1/clients/{camera}/segments/{seq}",
        tags=["segments"],
        summary="Segment one second of video",
        responses=_refusals(403, 404, 408, 409, 413, 415, 422),
        openapi_extra={
            "requestBody": {"required": True, "content": {SEGMENT_TYPE: {"schema": {"type": "string"}}}}
        },
    )
    async def put_segment(
        self,
        request: Request,
        camera: CameraId,
        seq: SeqPath,
        configuration: ConfigurationQuery,
        bundle: BundleQuery,
        bandwidth: BandwidthQuery = None,
        target: TargetQuery = None,
        deadline_ms: DeadlineQuery = None,
        captured_at: CapturedQuery = None,
        dropped: DroppedQuery = "",
        masks: MasksQuery = "none",
    ) -> SegmentAnswer:
        """The body is one H.264 stream in mp4. The same seq again gets the same answer."""
        arrived = time.perf_counter()
        (await self._camera(request, camera)).require_upload()
        if bundle != self._bundle.id:
            raise WrongBundle(
                f"Bundle {self._bundle.id} is in force, not {bundle}. Register again to get its ladder."
            )
        check_configuration(configuration, self._bundle.ladder)
        reported = parse_dropped(dropped, seq, self._bundle.ladder)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != SEGMENT_TYPE:
            raise WrongMediaType(f"Send the segment as {SEGMENT_TYPE}, not as {media_type or 'nothing'}.")
        body = await read_body(request, self._settings.max_segment_bytes, self._settings.body_timeout_s)
        if not body:
            raise Invalid("The body is empty. Send the segment's bytes.")
        job = SegmentRequest(
            camera=camera,
            seq=seq,
            configuration=configuration,
            bandwidth=bandwidth,
            target=target,
            deadline_s=None if deadline_ms is None else deadline_ms / 1e3,
            masks=masks,
            dropped=reported,
            body=body,
            arrived=arrived,
            received=time.perf_counter(),
        )
        # Shielded: a camera that hangs up early finds the finished answer when it asks again.
        return await asyncio.shield(asyncio.create_task(self._segments.answer(job)))

    @api.post(
        "/v1/keys", status_code=201, tags=["keys"], summary="Create a key", responses=_refusals(403, 413, 422)
    )
    async def create_key(self, request: Request, wanted: NewKey) -> IssuedKey:
        """A tenant exists as soon as it has a key. The secret is shown this once."""
        return await (await self._administrator(request)).create(wanted)

    @api.get("/v1/keys", tags=["keys"], summary="List keys", responses=_refusals(403, 422))
    async def list_keys(
        self,
        request: Request,
        tenant: TenantQuery = None,
        after: AfterKeyQuery = "",
        limit: LimitQuery = 100,
    ) -> KeyPage:
        """Tenants', read-only and operators' keys, revoked ones too. Camera tokens are not listed."""
        return await (await self._administrator(request)).list(tenant, after, limit)

    @api.post(
        "/v1/keys/{key_id}/rotate",
        status_code=201,
        tags=["keys"],
        summary="Replace a key",
        responses=_refusals(403, 404, 422),
    )
    async def rotate_key(self, request: Request, key_id: KeyIdPath) -> IssuedKey:
        """The key ends, everywhere within 60 s; the answer holds the one in its place."""
        return await (await self._administrator(request)).rotate(key_id)

    @api.delete(
        "/v1/keys/{key_id}",
        status_code=204,
        tags=["keys"],
        summary="Revoke a key",
        responses=_refusals(403, 404, 422),
    )
    async def revoke_key(self, request: Request, key_id: KeyIdPath) -> None:
        """Ends a key or a camera's token, everywhere within 60 s."""
        await (await self._administrator(request)).revoke(key_id)

    @api.get("/v1/audit", tags=["keys"], summary="The audit log", responses=_refusals(403, 422))
    async def audit(
        self,
        request: Request,
        tenant: TenantQuery = None,
        after: AfterEntryQuery = "",
        limit: LimitQuery = 100,
    ) -> AuditPage:
        """What was done with keys, or with a tenant's cameras where `tenant` is given."""
        return await (await self._administrator(request)).audit(tenant, after, limit)


IngressDeployment = serve.deployment()(IngressReplica)
