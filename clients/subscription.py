"""Results as a program reads them: an iterator that comes back by itself, and misses nothing in the window.

from clients import Results

with Results("3q2-7wAAAAAAAAAA", key="id.secret", masks="last") as results:
    for result in results:
        print(result.seq, result.configuration, result.masks and result.masks.unpack().shape)
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import httpx
from httpx_sse import ServerSentEvent, SSEError, connect_sse
from pydantic import ValidationError

from clients.addresses import with_scheme
from clients.connection import problem_of, refusal, retry_after
from clients.errors import RefusedByServer, ServerUnreachable, TryLater
from clients.outage import Outage
from clients.protocol import DEFAULT_SERVER, MaskMode, Problem
from clients.results import Gap, Result
from clients.retry import Backoff, retry_delay

CONNECT_TIMEOUT = 5.0
SILENCE_TIMEOUT = 45.0
"""Seconds; the server says something every fifteen."""
SEEN_KEPT = 1024


class Results:
    """What one camera was answered, or all cameras of the key's tenant; iterate it in one thread.

    camera: its id; None reads all of the tenant's cameras.
    masks: label maps wanted: `none`, `last` frame, or `all` frames, as far as the tenant keeps them.
    after: event id of the last result that the program has (of one camera: its seq, or -1 for all that is
        held; of all: `last_event_id` of an earlier reader); None begins with the next one that comes.
    patience: seconds without any answer after which `ServerUnreachable` is raised (None: try for ever).
    gaps: what was lost, because the window was over before the reader was back.
    notify: gets one clear line when the server goes away, is back, or results were lost.

    Iterating raises `RefusedByServer` and, where patience is over, `ServerUnreachable`.
    """

    def __init__(
        self,
        camera: str | None = None,
        *,
        key: str,
        server: str = DEFAULT_SERVER,
        masks: MaskMode = "none",
        after: int | str | None = None,
        patience: float | None = None,
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.camera, self._masks, self._notify = camera, masks, notify
        self.last_event_id = None if after is None else str(after)
        self.gaps: list[Gap] = []
        self._path = "/v1/results" if camera is None else f"/v1/clients/{camera}/results"
        self._seen: dict[str, deque[int]] = {}
        self._newest: dict[str, int] = {}
        self._outage, self._stop = Outage(notify, patience), threading.Event()
        self._url = with_scheme(server)
        self._http = httpx.Client(
            base_url=self._url,
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration; any thread may call it."""
        self._stop.set()
        self._http.close()

    def __iter__(self) -> Iterator[Result]:
        attempt, backoff = 0, Backoff()
        while not self._stop.is_set():
            try:
                for result in self._connected():
                    attempt = 0
                    yield result
                raise ServerUnreachable(f"{self._url} ended the results")
            except (ServerUnreachable, TryLater) as error:
                if self._stop.is_set():
                    return
                self._outage.failed(error)
                self._stop.wait(retry_delay(error, attempt, backoff, random.random) or 0.0)
                attempt += 1

    def _connected(self) -> Iterator[Result]:
        """Results of one connection, until it breaks. Raises errors of the tree."""
        try:
            with connect_sse(self._http, "GET", self._path, params=self._query()) as source:
                response = source.response
                if not response.is_success:
                    response.read()
                    raise refusal(
                        problem_of(response), retry_after(response.headers.get("retry-after"), time.time())
                    )
                self._outage.answered()
                for event in source.iter_sse():
                    yield from self._read(event)
        except (httpx.TransportError, httpx.InvalidURL, SSEError, RuntimeError) as error:
            # RuntimeError: the client was closed by another thread
            raise ServerUnreachable(
                f"no results from {self._url} ({error or type(error).__name__})"
            ) from error

    def _query(self) -> dict[str, str]:
        after = {} if self.last_event_id is None else {"after": self.last_event_id}
        return after | {"masks": self._masks}

    def _read(self, event: ServerSentEvent) -> Iterator[Result]:
        try:
            if event.event == "problem":
                raise refusal(Problem.model_validate_json(event.data))
            if event.event == "gap":
                self._lost(Gap.model_validate_json(event.data))
            result = Result.model_validate_json(event.data) if event.event == "result" else None
        except ValidationError as error:
            raise RefusedByServer(_foreign(error)) from error
        # of all cameras, the first events after a reconnection are older ones that come again
        if event.id and (self.camera is not None or _number(event.id) > _number(self.last_event_id)):
            self.last_event_id = event.id
        if result is not None and not self._had(result):
            yield result

    def _had(self, result: Result) -> bool:
        """Whether a result comes again, as a tenant's do after a reconnection."""
        seen = self._seen.setdefault(result.camera, deque(maxlen=SEEN_KEPT))
        if result.seq in seen:
            return True
        seen.append(result.seq)
        newest = self._newest.get(result.camera)
        if newest is not None and newest != result.previous:
            self._lost(Gap(camera=result.camera, after=newest, next=result.seq))
        self._newest[result.camera] = result.seq
        return False

    def _lost(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self._newest.pop(gap.camera, None)
        self._notify(f"results of camera {gap.camera} after {gap.after} are lost: the window is over")


def _number(identifier: str | None) -> tuple[int, ...]:
    """An id of all cameras' events, to compare."""
    return () if identifier is None else tuple(int(part) for part in identifier.split("-"))


def _foreign(error: ValidationError) -> Problem:
    return Problem(
        type="urn:penance:problem:foreign",
        title="An event is not of protocol version 1",
        status=200,
        detail=f"is this a Penance server of this version? {error.errors()[0]['msg']}",
    )
