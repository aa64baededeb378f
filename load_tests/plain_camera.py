"""A camera that hides nothing: one method, one request."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from clients.protocol import SEGMENT_TYPE, SegmentFormat


@dataclass
class PlainCamera:
    """A registered camera that speaks plain HTTP, so that every byte and status is seen."""

    http: httpx.Client
    id: str
    token: str
    bundle: str
    next_seq: int

    def put(
        self, seq: int | str, body: Any, *, headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        parameters = {"configuration": 89, "bundle": self.bundle, **query}
        own = {"Authorization": f"Bearer {self.token}", "Content-Type": SEGMENT_TYPE}
        return self.http.put(
            f"/v1/clients/{self.id}/segments/{seq}",
            content=body,
            params={name: value for name, value in parameters.items() if value is not None},
            headers={name: value for name, value in (own | (headers or {})).items() if value},
        )

    def status(self) -> dict[str, Any]:
        answer = self.http.get(f"/v1/clients/{self.id}", headers={"Authorization": f"Bearer {self.token}"})
        return dict(answer.raise_for_status().json())


def register_plain(http: httpx.Client, key: str, form: SegmentFormat) -> PlainCamera:
    """A new camera of the tenant with this key."""
    answer = http.post(
        "/v1/clients",
        json={"name": uuid.uuid4().hex, "segment": form.model_dump()},
        headers={"Authorization": f"Bearer {key}"},
    )
    found = answer.raise_for_status().json()
    return PlainCamera(http, found["id"], found["token"], found["bundle"], found["next_seq"])
