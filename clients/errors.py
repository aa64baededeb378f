"""Everything that can go wrong on a camera, drawn once.

CameraError                 one clear line for people; the command line prints it and ends with 1
|-- SourceError             the video cannot be opened or holds nothing to send
|-- KeyMissing              no key was given and none was found
`-- ServerError             the server's side
    |-- ServerUnreachable   no answer: connection refused, broken off or timed out     -> sent again
    |-- TryLater            429 or 503, with the time to wait                          -> sent again
    `-- RefusedByServer     any other 4xx/5xx; its `problem` says what was expected    -> not sent again
        `-- StaleBundle     409 `bundle`: the ladder has changed                       -> register again
UploadTooLate               not for people: the upload ran past its time and was broken off
"""

from __future__ import annotations

from clients.protocol import Problem


class CameraError(Exception):
    """The base of all errors that a program using `Camera` may see."""


class SourceError(CameraError):
    """The video cannot be opened, is no video, or is too short for one segment."""


class KeyMissing(CameraError):
    """No key was given and none was found; the message says where keys are looked for."""


class ServerError(CameraError):
    """The server did not take what was sent."""


class ServerUnreachable(ServerError):
    """No answer came. Whether the server got the request is unknown."""


class RefusedByServer(ServerError):
    """The server answered that the request is wrong; sending it again would change nothing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.title} ({problem.status}): {problem.detail}")
        self.problem = problem

    @property
    def slug(self) -> str:
        return problem_slug(self.problem)


class StaleBundle(RefusedByServer):
    """The server now serves another bundle than the one this camera registered with."""


class TryLater(ServerError):
    """The server is over its quota or load; `retry_after` is in seconds, None if it gave none."""

    def __init__(self, problem: Problem, retry_after: float | None) -> None:
        super().__init__(f"{problem.title} ({problem.status}): {problem.detail}")
        self.problem, self.retry_after = problem, retry_after


class UploadTooLate(Exception):
    """Raised out of an upload's body when the segment's time is over."""


def problem_slug(problem: Problem) -> str:
    """The last part of the problem's type: `deadline` of `urn:penance:problem:deadline`."""
    return problem.type.rstrip("/").replace(":", "/").rsplit("/", 1)[-1]
