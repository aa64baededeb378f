"""Segments and audits of a camera that keeps one connection; the messages are `clients.uploads`'.

Each is taken as a PUT is, one after the other: the same checks in the same order, the same problem documents.
What a camera sends ahead waits in its socket. One that hangs up gives up what still waits for a lane.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Annotated, Literal, TypeVar

from fastapi import WebSocket
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from clients.protocol import Problem, SegmentAnswer, Seq
from clients.uploads import UploadReply
from configs.faults import describe_faults
from serving.ingress.query import SegmentParameters
from serving.ingress.services import Services, camera_principal, principal_of
from serving.ingress.upload import AnnouncedSegment, take_audit
from serving.keys import Principal
from serving.problems import Invalid, RequestProblem, TooLarge, UploadTimeout

LONGEST_MESSAGE = 2**20
MESSAGES_AHEAD = 8
IDLE_S = 300.0
GOING_AWAY, TOO_BIG = 1001, 1009

Result = TypeVar("Result")


class SegmentHead(SegmentParameters):
    """Announces a segment's bytes."""

    kind: Literal["segment"]
    seq: Seq
    size: int = Field(ge=1)


class AuditHead(BaseModel):
    """Announces the frame that an answer asked for."""

    kind: Literal["audit"]
    seq: Seq
    size: int = Field(ge=1)
    bundle: str = Field(max_length=128)


HEAD: TypeAdapter[SegmentHead | AuditHead] = TypeAdapter(
    Annotated[SegmentHead | AuditHead, Field(discriminator="kind")]
)


class HungUp(Exception):
    """The camera closed the connection, or must be told to."""


class GivenUp(Exception):
    """The camera sent a new head before the bytes of the one before were there."""


class UploadSession:
    """One connection, already accepted."""

    def __init__(self, websocket: WebSocket, services: Services, camera: str) -> None:
        self._websocket, self._services, self._camera = websocket, services, camera
        self._messages: asyncio.Queue[str | bytes] = asyncio.Queue(MESSAGES_AHEAD)
        self._hung_up = asyncio.Event()
        self._next_head: str | None = None
        self._tenant: str | None = None

    async def principal(self) -> Principal:
        """Whom the connection's key speaks for, as of now, where the camera is theirs. Raises a problem."""
        principal = await principal_of(self._websocket, self._services)
        self._tenant = principal.tenant
        return await camera_principal(self._camera, principal, self._services)

    async def run(self) -> None:
        """Takes uploads until the camera hangs up."""
        receiving = asyncio.create_task(self._receive())
        try:
            while True:
                head = await self._head()
                try:
                    reply = await self._taken(head, time.perf_counter())
                except GivenUp:
                    continue
                await self._websocket.send_text(reply.model_dump_json())
        except HungUp:
            return
        finally:
            receiving.cancel()

    async def _receive(self) -> None:
        """Reads ahead a little, and notices that the camera hung up while its segment is worked on."""
        try:
            while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
                content: str | bytes = message.get("text") or message.get("bytes") or b""
                if len(content) > LONGEST_MESSAGE:
                    await self._websocket.close(TOO_BIG, f"at most {LONGEST_MESSAGE} bytes a message")
                    return
                await self._messages.put(content)
        finally:
            self._hung_up.set()

    async def _message(self, timeout_s: float) -> str | bytes:
        """The next message. Raises `TimeoutError` and `HungUp`."""
        async with asyncio.timeout(timeout_s):
            return await self._unless_hung_up(self._messages.get())

    async def _unless_hung_up(self, act: Awaitable[Result]) -> Result:
        """What an act gives; it is cancelled where the camera hangs up meanwhile."""
        acting, hanging_up = asyncio.ensure_future(act), asyncio.create_task(self._hung_up.wait())
        try:
            await asyncio.wait((acting, hanging_up), return_when=asyncio.FIRST_COMPLETED)
            if acting.done():
                return acting.result()
            raise HungUp
        finally:
            hanging_up.cancel()
            acting.cancel()

    async def _head(self) -> str:
        """The next head; bytes of an upload that was refused or given up are passed over."""
        held, self._next_head = self._next_head, None
        while held is None:
            try:
                message = await self._message(IDLE_S)
            except TimeoutError:
                await self._websocket.close(GOING_AWAY, f"nothing came for {IDLE_S:g} s")
                raise HungUp from None
            held = message if isinstance(message, str) else None
        return held

    async def _taken(self, text: str, arrived: float) -> UploadReply:
        head: SegmentHead | AuditHead | None = None
        try:
            head = _parsed(text)
            answer = await self._take(head, arrived)
        except RequestProblem as refusal:
            problem = Problem.model_validate(refusal.document())
            kind, seq = ("segment", None) if head is None else (head.kind, head.seq)
            if kind == "segment":
                await self._services.telemetry.refused(
                    self._tenant, self._camera, "" if seq is None else seq, refusal.slug
                )
            return UploadReply(kind=kind, seq=seq, status=refusal.status, problem=problem)
        return UploadReply(kind=head.kind, seq=head.seq, status=200 if answer else 202, answer=answer)

    async def _take(self, head: SegmentHead | AuditHead, arrived: float) -> SegmentAnswer | None:
        principal = await self.principal()  # a key may have ended since the connection was opened
        principal.require_upload()
        if isinstance(head, AuditHead):
            self._services.bundles.named(head.bundle)
            frame = await self._body(head.size)
            await take_audit(self._services, principal.tenant, self._camera, head.seq, frame)
            return None
        announced = AnnouncedSegment.of(self._services, self._camera, head.seq, head)
        body = await self._body(head.size)
        request = announced.with_body(principal, body, arrived)
        return await self._unless_hung_up(self._services.segments.take(request))

    async def _body(self, size: int) -> bytes:
        settings = self._services.settings
        if size > settings.max_segment_bytes:
            raise TooLarge(
                f"A body may hold {settings.max_segment_bytes} bytes, this one announces {size}. "
                "Compress the segment more."
            )
        body, ends = bytearray(), time.monotonic() + settings.body_timeout_s
        while len(body) < size:
            try:
                message = await self._message(max(0.0, ends - time.monotonic()))
            except TimeoutError as error:
                raise UploadTimeout(
                    f"The body did not arrive within {settings.body_timeout_s:g} s. Send smaller segments."
                ) from error
            if isinstance(message, str):
                self._next_head = message
                raise GivenUp
            body += message
        if len(body) > size:
            raise Invalid(f"The body is longer than the {size} bytes announced. Send what is announced.")
        return bytes(body)


def _parsed(text: str) -> SegmentHead | AuditHead:
    try:
        return HEAD.validate_json(text)
    except ValidationError as error:
        raise Invalid(f"The head cannot be read: {describe_faults(error)}"[:2000]) from error
