"""Messages of usage: what a tenant was served in a month, and what that costs. Months are UTC."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from pydantic import Field

from clients.protocol import Message, example

MONTH_PATTERN = r"^20\d\d-(0[1-9]|1[0-2])$"
_COLUMNS = ("kind", "start", "camera", "name", "segments", "flops", "bytes", "price", "currency")


class HourUsage(Message):
    """What a tenant's cameras were served in one hour."""

    start: int = Field(description="Unix seconds")
    segments: int
    flops: int = Field(description="2 per multiply-add")
    bytes: int


class CameraUsage(Message):
    """What one camera was served in the month; deleted cameras stay listed."""

    camera: str
    name: str
    segments: int
    flops: int
    bytes: int
    price: Decimal


class UsageReport(Message):
    """One tenant's month: accepted segments only, each counted once."""

    model_config = example(
        tenant="acme",
        month="2026-11",
        hours=[{"start": 1793491200, "segments": 3600, "flops": 206550000000000, "bytes": 178000000}],
        cameras=[
            {
                "camera": "Zx3kq0b7uWmN4c1A",
                "name": "gate-north",
                "segments": 3600,
                "flops": 206550000000000,
                "bytes": 178000000,
                "price": "4.02",
            }
        ],
        segments=3600,
        flops=206550000000000,
        bytes=178000000,
        price="4.02",
        currency="EUR",
    )

    tenant: str
    month: str
    hours: tuple[HourUsage, ...]
    cameras: tuple[CameraUsage, ...]
    segments: int
    flops: int
    bytes: int
    price: Decimal = Field(description="sum of the cameras' prices by the rate card in force now")
    currency: str

    def csv(self) -> str:
        """The hours, the cameras and the total as one table."""
        text = io.StringIO()
        table = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\r\n")
        table.writeheader()
        for hour in self.hours:
            table.writerow({"kind": "hour", **hour.model_dump()})
        for camera in self.cameras:
            row = camera.model_dump() | {"name": _inert(camera.name), "currency": self.currency}
            table.writerow({"kind": "camera", **row})
        total = self.model_dump(include={"segments", "flops", "bytes", "price", "currency"})
        table.writerow({"kind": "total", **total})
        return text.getvalue()


def _inert(name: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name[:1] in "=+-@" else name
