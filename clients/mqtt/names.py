"""Names of a tenant's cameras by id, asked for when an unknown one appears."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx
from pydantic import ValidationError

from clients.addresses import with_scheme
from clients.protocol import CameraPage

TIMEOUT_S = 10.0


class CameraNames:
    """A context manager that asks one server; a camera whose name cannot be had goes by its id."""

    def __init__(self, server: str, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=with_scheme(server), headers=headers, timeout=TIMEOUT_S)
        self._names: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._http.close()

    def of(self, camera: str) -> str:
        if camera not in self._names:
            self._ask()
        return self._names.get(camera, camera)

    def _ask(self) -> None:
        after: str | None = ""
        try:
            while after is not None:
                answer = self._http.get("/v1/clients", params={"after": after, "limit": "500"})
                page = CameraPage.model_validate_json(answer.raise_for_status().content)
                self._names |= {camera.id: camera.name for camera in page.cameras}
                after = page.next
        except (httpx.HTTPError, ValidationError):
            return  # asked again with the next result
