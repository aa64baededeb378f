"""What an upload must be before it is taken through the application, however it travels."""

from __future__ import annotations

import time
from dataclasses import dataclass

from configs.bundle import Bundle
from serving.ingress.outcome import SegmentRequest
from serving.ingress.query import SegmentParameters, check_configuration, parse_dropped, read_decision
from serving.ingress.services import NO_CAMERA, Services
from serving.keys import Principal
from serving.problems import Invalid, NotFound
from serving.state.transitions import Decision


@dataclass(frozen=True, slots=True)
class AnnouncedSegment:
    """A segment whose parameters are in order, and whose bytes are still to come."""

    camera: str
    seq: int
    bundle: Bundle
    parameters: SegmentParameters
    dropped: tuple[tuple[int, int], ...]
    decision: Decision

    @classmethod
    def of(cls, services: Services, camera: str, seq: int, parameters: SegmentParameters) -> AnnouncedSegment:
        """Raises `WrongBundle` or `Invalid` before a byte of the body is read."""
        bundle = services.bundles.named(parameters.bundle)
        check_configuration(parameters.configuration, bundle.ladder)
        dropped = parse_dropped(parameters.dropped, seq, bundle.ladder)
        decision = read_decision(seq, parameters.probability, parameters.feedback, parameters.seen)
        return cls(camera, seq, bundle, parameters, dropped, decision)

    def with_body(self, principal: Principal, body: bytes, arrived: float) -> SegmentRequest:
        """The segment as the application takes it; `arrived` is when its first byte did."""
        if not body:
            raise Invalid("The body is empty. Send the segment's bytes.")
        told = self.parameters
        return SegmentRequest(
            tenant=principal.tenant,
            camera=self.camera,
            seq=self.seq,
            bundle=self.bundle,
            configuration=told.configuration,
            bandwidth=told.bandwidth,
            target=told.target,
            deadline_s=None if told.deadline_ms is None else told.deadline_ms / 1e3,
            masks=told.masks,
            dropped=self.dropped,
            body=body,
            arrived=arrived,
            received=time.perf_counter(),
            captured_at=told.captured_at,
            decision=self.decision,
        )


async def take_audit(services: Services, tenant: str, camera: str, seq: int, frame: bytes) -> None:
    """Takes the frame of an audit. Raises a `RequestProblem`."""
    status = await services.store.status(camera)
    if status is None:
        raise NotFound(NO_CAMERA)
    await services.auditor.take(tenant, camera, seq, frame, status.segment)
