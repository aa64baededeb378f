"""The HTTP side of the protocol: one request per method, errors as in `clients.errors`, no retries."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from clients.addresses import Addresses
from clients.bandwidth import SEND_BUFFER, Upload
from clients.bundles import SignedManifest
from clients.errors import (
    RefusedByServer,
    ServerError,
    ServerUnreachable,
    StaleBundle,
    TryLater,
    problem_slug,
)
from clients.protocol import (
    SEGMENT_TYPE,
    CameraStatus,
    MaskMode,
    Problem,
    Registered,
    Registration,
    SegmentAnswer,
    VariantInfo,
)
from clients.signature import SIGNATURE_HEADER
from clients.uploads import Kind, UploadConnection, UploadReply

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 60.0
SOCKET_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]
GONE_S = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""A server that vanishes without a word, its node or the link being gone, is noticed 11 s after its last sign
of life, not when the answer's time is over. Not all systems know these options."""
SOCKET_OPTIONS += [
    (socket.IPPROTO_TCP, getattr(socket, name), seconds)
    for name, seconds in GONE_S.items()
    if hasattr(socket, name)
]
NO_ANSWER = (500, 502, 504)
"""A proxy speaks, and the server behind it does not: no refusal of the server's own has one of these. What
was sent may have been taken all the same, so it is sent again under its number."""
FOREIGN = "about:blank"
"""The type of problems that were made here, for answers without a problem document."""
_ANSWER = TypeAdapter(SegmentAnswer)
Answer = TypeVar("Answer")


class SegmentParameters(BaseModel):
    """Query of `PUT /v1/clients/{id}/segments/{seq}`; what is None is left out."""

    configuration: int
    bundle: str
    bandwidth: float | None = None  # MB/s
    deadline_ms: float | None = None
    captured_at: float | None = None  # unix seconds at which the segment's last frame was there
    masks: MaskMode = "none"
    probability: float | None = None  # with which the policy gave the configuration
    feedback: int | None = None  # seq of the segment whose embedding it went by
    seen: str | None = None  # what it saw of the segment, as `clients.transitions` packs it
    dropped: tuple[tuple[int, int], ...] = ()  # seq, and configuration on the bundle's ladder

    def query(self) -> dict[str, str | int | float]:
        parameters: dict[str, Any] = self.model_dump(exclude_none=True, exclude={"dropped"})
        if self.dropped:
            parameters["dropped"] = ",".join(f"{seq}:{configuration}" for seq, configuration in self.dropped)
        return parameters


class PenanceServer:
    """A thin client of one server. Registering needs a tenant's key; all else goes by the camera's token.

    url: where it is, or several addresses with commas between them: after one that gave no answer the next
        request goes to the next (`clients.addresses`).
    one_connection: whether segments go over one WebSocket instead of a request each (`clients.uploads`).
    """

    def __init__(self, url: str, key: str, one_connection: bool = False) -> None:
        self._addresses, self._key = Addresses(url), key
        self._registered: Registered | None = None
        self._one_connection = one_connection
        self._uploads: UploadConnection | None = None
        self._http = httpx.Client(
            # Reading the authorities takes longer than a request: only where there is something to verify.
            transport=httpx.HTTPTransport(verify=self._addresses.any_secure, socket_options=SOCKET_OPTIONS),
            timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT),
        )

    @property
    def url(self) -> str:
        """The address in use."""
        return self._addresses.current

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._uploads is not None:
            self._uploads.close()
        self._http.close()

    @property
    def registered(self) -> Registered:
        """What the latest registration gave; `RuntimeError` before the first."""
        if self._registered is None:
            raise RuntimeError("register the camera first")
        return self._registered

    def register(self, registration: Registration) -> Registered:
        """Registers the camera, or updates it under the same name; later calls use its token."""
        body = registration.model_dump(mode="json")
        self._registered = _read(
            TypeAdapter(Registered), self._request("POST", "/v1/clients", self._key, json=body)
        )
        if self._one_connection:
            self._connect()
        return self._registered

    def _connect(self) -> None:
        """Has segments go over a connection to the address in use; it is opened with the next one."""
        if self._uploads is not None:
            self._uploads.close()
        address = f"{self.url}{self._path()}/upload"
        self._uploads = UploadConnection(address, self.registered.token, _connected, ANSWER_TIMEOUT)

    def _upload(
        self, kind: Kind, seq: int, size: int, body: Iterable[bytes], head: Mapping[str, object]
    ) -> UploadReply:
        assert self._uploads is not None
        address = self.url
        try:
            return self._uploads.send(kind, seq, size, body, head)
        except ServerUnreachable:
            self._addresses.failed(address)
            if self.url != address:
                self._connect()
            raise

    def send_segment(
        self,
        seq: int,
        upload: Upload,
        size: int,
        parameters: SegmentParameters,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> SegmentAnswer:
        """Sends one segment of `size` bytes and waits for its answer; `headers` go with it.

        Raises `UploadTooLate` when the upload's time is over before its last byte, else errors of the tree.
        """
        if self._uploads is not None:
            reply = self._upload("segment", seq, size, upload, parameters.query())
            if reply.answer is None:
                raise _refused(reply)
            return reply.answer
        response = self._request(
            "PUT",
            f"{self._path()}/segments/{seq}",
            self.registered.token,
            params=parameters.query(),
            content=upload,
            headers={**headers, "content-type": SEGMENT_TYPE, "content-length": str(size)},
        )
        return _read(_ANSWER, response)

    def send_audit(self, seq: int, frame: bytes, bundle: str) -> None:
        """Sends the last frame of a segment, at the best compression setting, as its answer asked for."""
        if self._uploads is not None:
            reply = self._upload("audit", seq, len(frame), [frame], {"bundle": bundle})
            if reply.problem is not None:
                raise _refused(reply)
            return
        self._request(
            "PUT",
            f"{self._path()}/segments/{seq}/audit",
            self.registered.token,
            params={"bundle": bundle},
            content=frame,
            headers={"content-type": SEGMENT_TYPE},
        )

    def status(self) -> CameraStatus:
        """What the server holds about this camera."""
        return _read(TypeAdapter(CameraStatus), self._request("GET", self._path(), self.registered.token))

    def delete(self) -> None:
        """Deletes this camera and all that the server holds about it."""
        self._request("DELETE", self._path(), self._key)

    def variants(self) -> tuple[VariantInfo, ...]:
        """The family of models that the server runs."""
        return _read(TypeAdapter(tuple[VariantInfo, ...]), self._request("GET", "/v1/variants", self._key))

    def bundle_manifest(self, bundle: str) -> SignedManifest:
        """`bundle.json` of a bundle, as it lies there. Servers of older versions give the one in force."""
        response = self._request("GET", "/v1/bundle", self.registered.token, params={"bundle": bundle})
        return SignedManifest(response.content, response.headers.get(SIGNATURE_HEADER))

    def bundle_file(self, bundle: str, name: str, held: str | None = None) -> bytes | None:
        """One of a bundle's files that cameras need; None where it is the one with the SHA-256 `held`."""
        headers = {} if held is None else {"if-none-match": f'"{held}"'}
        path, which = f"/v1/bundle/files/{name}", {"bundle": bundle}
        response = self._request("GET", path, self.registered.token, headers, params=which)
        return None if response.status_code == httpx.codes.NOT_MODIFIED else response.content

    def _path(self) -> str:
        return f"/v1/clients/{self.registered.id}"

    def _request(
        self, method: str, path: str, bearer: str, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {bearer}", **(headers or {})}
        address = self.url
        try:
            response = self._http.request(method, address + path, headers=headers, **more)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            self._addresses.failed(address)
            reason = str(error) or type(error).__name__
            raise ServerUnreachable(f"no answer from {address} ({reason})") from error
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return response
        problem = problem_of(response)
        if response.status_code in NO_ANSWER or (self._registered is not None and _knows_nothing(problem)):
            self._addresses.failed(address)
            raise ServerUnreachable(f"no answer from behind {address} ({response.status_code})")
        raise refusal(problem, retry_after(response.headers.get("retry-after"), time.time()))


def _knows_nothing(problem: Problem) -> bool:
    """Whether a proxy speaks that has only just started and was told of no application yet: the server's own
    404 is a problem document."""
    return problem.status == httpx.codes.NOT_FOUND and problem.type == FOREIGN


def refusal(problem: Problem, retry_after_s: float | None = None) -> ServerError:
    """The error that a problem document comes out as; `retry_after_s` is what the header said."""
    if problem.status in (429, 503):
        return TryLater(problem, retry_after_s if problem.retry_after_s is None else problem.retry_after_s)
    if problem.status == 409 and problem_slug(problem).endswith("bundle"):
        return StaleBundle(problem)
    return RefusedByServer(problem)


def _refused(reply: UploadReply) -> ServerError:
    if reply.problem is None:
        return ServerUnreachable(f"the reply to segment {reply.seq} holds nothing")
    return refusal(reply.problem)


def _connected(host: str, port: int) -> socket.socket:
    made = socket.create_connection((host, port), CONNECT_TIMEOUT)
    for option in SOCKET_OPTIONS:
        made.setsockopt(*option)
    return made


def _read(model: TypeAdapter[Answer], response: httpx.Response) -> Answer:
    try:
        return model.validate_json(response.content)
    except ValidationError as error:
        problem = Problem(
            type="urn:penance:problem:foreign",
            title="The answer is not of protocol version 1",
            status=response.status_code,
            detail=f"is {response.url} a Penance server of this version? {error.errors()[0]['msg']}",
        )
        raise RefusedByServer(problem) from error


def problem_of(response: httpx.Response) -> Problem:
    """The problem document of an answer; proxies and other servers send none, so one is made for them."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return Problem(
            type=FOREIGN,
            title=response.reason_phrase or "Refused",
            status=response.status_code,
            detail=f"{response.url} gave no problem document; is it a Penance server?",
        )


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which may be a number or an HTTP date; None if unreadable."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except ValueError:
        return None
