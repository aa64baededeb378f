"""Reports of usage: the ledger's months, priced."""

from __future__ import annotations

import time
from dataclasses import asdict
from decimal import Decimal

from clients.usage import CameraUsage, HourUsage, UsageReport
from configs.rates import RateCard
from serving.state.usage import HOUR_S, UsageStore, month_of


async def usage_report(usage: UsageStore, rates: RateCard, tenant: str, month: str | None) -> UsageReport:
    """A tenant's month with all that was counted until now; None means the month that runs."""
    month = month or month_of(int(time.time()) // HOUR_S)
    names = await usage.fold_tenant(tenant)
    held = await usage.month(tenant, month)
    cameras = tuple(
        CameraUsage(
            camera=camera,
            name=names.get(camera) or held.names.get(camera, ""),
            price=rates.price(amounts.segments, amounts.flops, amounts.bytes),
            **asdict(amounts),
        )
        for camera, amounts in sorted(held.cameras.items())
    )
    return UsageReport(
        tenant=tenant,
        month=month,
        hours=tuple(
            HourUsage(start=hour * HOUR_S, **asdict(amounts)) for hour, amounts in sorted(held.hours.items())
        ),
        cameras=cameras,
        segments=sum(camera.segments for camera in cameras),
        flops=sum(camera.flops for camera in cameras),
        bytes=sum(camera.bytes for camera in cameras),
        price=sum((camera.price for camera in cameras), Decimal(0)),
        currency=rates.currency,
    )
