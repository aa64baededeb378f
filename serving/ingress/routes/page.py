"""The page at `/`: files that `dashboard/` is built into. They hold nothing of anybody's; all that is shown
is asked for with the key of who signs in, which no address ever holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import FileResponse

from serving.problems import NotFound

router = APIRouter(include_in_schema=False)

BUILT = Path(__file__).parents[2] / "dashboard"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@router.get("/")
async def page(if_none_match: Annotated[str | None, Header(max_length=1024)] = None) -> Response:
    """Asked for anew each time, so that a new version is there at once; its files are named by content."""
    path = BUILT / "index.html"
    tag = f'"{path.stat().st_mtime_ns:x}-{path.stat().st_size:x}"'
    headers = HEADERS | {"Cache-Control": "no-cache", "ETag": tag}
    if if_none_match is not None and tag in if_none_match:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type="text/html")


@router.get("/assets/{name}")
async def asset(name: str) -> FileResponse:
    path = BUILT / "assets" / Path(name).name
    if path.suffix not in KINDS or not path.is_file():
        raise NotFound("The page has no such file. Load it anew.")
    headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(path, headers=headers, media_type=KINDS[path.suffix])
