"""What is told of each segment when it is over: its metrics, and one line of log.

An accepted segment costs twelve calls to Ray's metrics, of 6 to 15 microseconds each; a refused or replayed
one costs one.
"""

from __future__ import annotations

import logging

from clients.protocol import SegmentAnswer
from serving.telemetry import catalogue
from serving.telemetry.instruments import Instruments
from serving.telemetry.tenants import TenantLabels

STAGES = ("receive", "state", "queue", "decode", "infer", "embed")
HUNG_UP = "hung-up"

logger = logging.getLogger("ray.serve")


class SegmentTelemetry:
    """Tells of segments and their audits; one instance an ingress replica."""

    def __init__(self, instruments: Instruments, tenants: TenantLabels) -> None:
        self._to, self._tenants = instruments, tenants

    async def accepted(
        self,
        tenant: str,
        camera: str,
        answer: SegmentAnswer,
        *,
        variant: int,
        target: float,
        size: int,
        dropped: int,
        commit_ms: float,
    ) -> None:
        """A segment was committed; `dropped` are those that were counted with it, `size` is in bytes."""
        label, to, times = await self._tenants.of(tenant), self._to, answer.timings_ms
        total_ms = times.total + commit_ms
        to.count(catalogue.SEGMENTS, tenant=label, variant=str(variant))
        to.count(catalogue.BYTES, size, tenant=label)
        to.count(catalogue.COST, answer.cost, tenant=label)
        if answer.predicted_miou is not None:
            to.count(catalogue.PREDICTED_MIOU, answer.predicted_miou, tenant=label)
            to.count(catalogue.SHORTFALLS, answer.predicted_miou < target, tenant=label)
        to.count(catalogue.DROPS, dropped, tenant=label)
        to.count(catalogue.AUDITS, answer.audit, tenant=label, outcome="asked")
        to.observe(catalogue.SEGMENT_SECONDS, total_ms / 1e3, tenant=label)
        for stage in STAGES:
            to.observe(catalogue.STAGE_SECONDS, getattr(times, stage) / 1e3, stage=stage)
        to.observe(catalogue.STAGE_SECONDS, commit_ms / 1e3, stage="commit")
        _tell(tenant, camera, answer.seq, "accepted", configuration=answer.configuration, total_ms=total_ms)

    async def replayed(self, tenant: str, camera: str, seq: int) -> None:
        """A segment's stored answer was given again."""
        self._to.count(catalogue.REPLAYS, tenant=await self._tenants.of(tenant))
        _tell(tenant, camera, seq, "replayed")

    async def refused(self, tenant: str | None, camera: str, seq: str | int, reason: str) -> None:
        """A segment was refused, for the `reason` that its problem document names; None: without a key."""
        self._to.count(catalogue.REFUSALS, tenant=await self._tenants.of(tenant), reason=reason)
        _tell(tenant or "", camera, seq, reason)

    async def audited(self, tenant: str, *, met: bool) -> None:
        """An audit showed whether the segment met its target."""
        outcome = "met" if met else "missed"
        self._to.count(catalogue.AUDITS, tenant=await self._tenants.of(tenant), outcome=outcome)


def _tell(tenant: str, camera: str, seq: str | int, outcome: str, **more: float) -> None:
    """In JSON what is in `extra` stands as fields of its own, beside the request's id."""
    fields = {"event": "segment", "tenant": tenant, "camera": camera, "seq": seq, "outcome": outcome, **more}
    logger.info("Segment %s of camera %s: %s.", seq, camera, outcome, extra=fields)
