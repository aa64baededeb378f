"""The connection that a camera may keep for all its segments."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from clients.protocol import Problem
from clients.uploads import UploadReply
from serving.ingress.query import CameraId
from serving.ingress.services import services_of
from serving.ingress.uploads import UploadSession
from serving.problems import RequestProblem

router = APIRouter()
REFUSED = 1008


@router.websocket("/v1/clients/{camera}/upload")
async def upload(websocket: WebSocket, camera: CameraId) -> None:
    """Refusals come as a reply without a seq: not every proxy passes the status of a handshake on."""
    await websocket.accept()
    with suppress(WebSocketDisconnect):  # one that hangs up has said all there is to say
        await _serve(websocket, camera)


async def _serve(websocket: WebSocket, camera: str) -> None:
    try:
        services = await services_of(websocket)
        session = UploadSession(websocket, services, camera)
        with services.uploads.hold((await session.principal()).tenant):
            await session.run()
    except RequestProblem as refusal:
        problem = Problem.model_validate(refusal.document())
        reply = UploadReply(seq=None, status=refusal.status, problem=problem)
        await websocket.send_text(reply.model_dump_json())
        await websocket.close(REFUSED)
