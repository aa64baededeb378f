"""Segments: what an upload must be before it is taken through the application."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request

from clients.protocol import SEGMENT_TYPE, SegmentAnswer
from serving.ingress.body import read_body
from serving.ingress.outcome import SegmentRequest
from serving.ingress.query import (
    SEGMENT_BODY,
    BandwidthQuery,
    BundleQuery,
    CameraId,
    CapturedQuery,
    ConfigurationQuery,
    DeadlineQuery,
    DroppedQuery,
    FeedbackQuery,
    MasksQuery,
    ProbabilityQuery,
    SeenQuery,
    SeqPath,
    TargetQuery,
    check_configuration,
    parse_dropped,
    read_decision,
)
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import CameraPrincipal, TheServices
from serving.problems import Invalid, WrongBundle, WrongMediaType

router = APIRouter(tags=["segments"])


@router.put(
    "/v1/clients/{camera}/segments/{seq}",
    summary="Segment one second of video",
    responses=refusals(403, 404, 408, 409, 413, 415, 422, 429),
    openapi_extra=SEGMENT_BODY,
)
async def put_segment(
    request: Request,
    camera: CameraId,
    seq: SeqPath,
    principal: CameraPrincipal,
    services: TheServices,
    configuration: ConfigurationQuery,
    bundle: BundleQuery,
    bandwidth: BandwidthQuery = None,
    target: TargetQuery = None,
    deadline_ms: DeadlineQuery = None,
    captured_at: CapturedQuery = None,
    dropped: DroppedQuery = "",
    masks: MasksQuery = "none",
    probability: ProbabilityQuery = None,
    feedback: FeedbackQuery = None,
    seen: SeenQuery = "",
) -> SegmentAnswer:
    """The body is one H.264 stream in mp4. The same seq again gets the same answer."""
    principal.require_upload()
    in_force, settings = services.bundle, services.settings
    if bundle != in_force.id:
        raise WrongBundle(
            f"Bundle {in_force.id} is in force, not {bundle}. Register again to get its ladder."
        )
    check_configuration(configuration, in_force.ladder)
    reported = parse_dropped(dropped, seq, in_force.ladder)
    decision = read_decision(seq, probability, feedback, seen)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != SEGMENT_TYPE:
        raise WrongMediaType(f"Send the segment as {SEGMENT_TYPE}, not as {media_type or 'nothing'}.")
    body = await read_body(request, settings.max_segment_bytes, settings.body_timeout_s)
    if not body:
        raise Invalid("The body is empty. Send the segment's bytes.")
    job = SegmentRequest(
        tenant=principal.tenant,
        camera=camera,
        seq=seq,
        configuration=configuration,
        bandwidth=bandwidth,
        target=target,
        deadline_s=None if deadline_ms is None else deadline_ms / 1e3,
        masks=masks,
        dropped=reported,
        body=body,
        arrived=request.state.arrived,
        received=time.perf_counter(),
        decision=decision,
    )
    return await services.segments.take(job)
