"""Reading an upload's body: bounded in size and time, chunked or not, before anything is kept whole."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from serving.problems import Invalid, TooLarge, UploadTimeout, WrongMediaType


def check_media_type(request: Request, wanted: str, what: str) -> None:
    """Raises `WrongMediaType` where the request says that its body is something else."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != wanted:
        raise WrongMediaType(f"Send the {what} as {wanted}, not as {found or 'nothing'}.")


async def read_body(request: Request, limit: int, timeout_s: float) -> bytes:
    """The whole body. Raises `TooLarge` as soon as `limit` bytes are announced or exceeded, and
    `UploadTimeout` when it has not arrived within `timeout_s`."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise TooLarge(
            f"A body may hold {limit} bytes, this one announces {announced}. Compress the segment more."
        )
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(request, limit)
    except TimeoutError as error:
        raise UploadTimeout(
            f"The body did not arrive within {timeout_s:g} s. Send smaller segments."
        ) from error
    except ClientDisconnect as error:
        raise Invalid("The upload was broken off. Send the whole segment again.") from error


async def _collect(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"A body may hold {limit} bytes, this one is longer. Compress the segment more.")
    return bytes(body)
