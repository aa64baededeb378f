"""Segments, each in a request of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from clients.protocol import SEGMENT_TYPE, SegmentAnswer
from serving.ingress.body import check_media_type, read_body
from serving.ingress.query import SEGMENT_BODY, CameraId, SegmentParameters, SeqPath
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import CameraPrincipal, TheServices
from serving.ingress.upload import AnnouncedSegment

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
    parameters: Annotated[SegmentParameters, Query()],
) -> SegmentAnswer:
    """The body is one H.264 stream in mp4. The same seq again gets the same answer."""
    principal.require_upload()
    announced = AnnouncedSegment.of(services, camera, seq, parameters)
    check_media_type(request, SEGMENT_TYPE, "segment")
    body = await read_body(request, services.settings.max_segment_bytes, services.settings.body_timeout_s)
    return await services.segments.take(announced.with_body(principal, body, request.state.arrived))
