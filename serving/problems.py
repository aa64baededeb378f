"""Everything that the application refuses, as RFC 9457 problem documents.

Each exception carries its HTTP status and says three things: what was wrong, what was expected, what to
do. They arise along a segment's way: key (401, 403, 404, 503), request (409, 413, 415, 422), quota (429),
decoding (422), load and deadline (503), state (409, 503).
"""

from __future__ import annotations

import math

PROBLEM_URN = "urn:penance:problem:"


class RequestProblem(Exception):
    """Base of all refusals. `slug` is stable and machine-readable; `detail` is for people."""

    status = 400
    slug = "request"
    title = "The request was refused"

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s

    def document(self) -> dict[str, object]:
        """The problem document; `retry_after_s` is exact, where the header has whole seconds."""
        document: dict[str, object] = {
            "type": PROBLEM_URN + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.retry_after_s is not None:
            document["retry_after_s"] = self.retry_after_s
        return document

    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, rounded up, where trying again makes sense."""
        return (
            {} if self.retry_after_s is None else {"Retry-After": str(max(1, math.ceil(self.retry_after_s)))}
        )


class Unauthenticated(RequestProblem):
    status, slug, title = 401, "key", "No valid key"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(RequestProblem):
    status, slug, title = 403, "scope", "This key may not do that"


class NotFound(RequestProblem):
    status, slug, title = 404, "not-found", "Not found"


class UploadTimeout(RequestProblem):
    status, slug, title = 408, "upload-timeout", "The upload took too long"


class Stale(RequestProblem):
    status, slug, title = 409, "stale", "This segment's turn is over"


class NotAsked(RequestProblem):
    status, slug, title = 409, "not-asked", "No such audit is asked for"


class Overtaken(RequestProblem):
    status, slug, title = 409, "overtaken", "A newer segment took this one's place"


class WrongBundle(RequestProblem):
    status, slug, title = 409, "bundle", "Another bundle is in force"


class TooLarge(RequestProblem):
    status, slug, title = 413, "too-large", "The body is too large"


class WrongMediaType(RequestProblem):
    status, slug, title = 415, "media-type", "Wrong media type"


class Invalid(RequestProblem):
    status, slug, title = 422, "invalid", "The request is not valid"


class Undecodable(RequestProblem):
    status, slug, title = 422, "undecodable", "The segment cannot be decoded"


class QuotaExceeded(RequestProblem):
    status, slug, title = 429, "quota", "The tenant's quota is used up"


class DeadlinePassed(RequestProblem):
    status, slug, title = 503, "deadline", "Not to be had before the deadline"


class Overloaded(RequestProblem):
    status, slug, title = 503, "overload", "The server is busy"


class NotReady(RequestProblem):
    status, slug, title = 503, "starting", "The server is starting"


class StateUnavailable(RequestProblem):
    status, slug, title = 503, "state", "The state store cannot be reached"
