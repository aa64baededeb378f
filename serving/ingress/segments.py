"""The way of one segment: claim, quota, turn, inference, commit, answer.

The state changes in one atomic step at the end, and only then is the answer given. Whatever goes wrong
before leaves nothing behind but a claim, which the next try takes over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

from clients.codec import DecodeLimits, scaled_size
from clients.protocol import LabelMaps, MaskMode, SegmentAnswer, SegmentFormat
from clients.results import Retention
from configs.bundle import Bundle
from configs.settings import Settings
from serving.bundles.served import ServedBundles
from serving.deployments.messages import Encoding, SegmentJob
from serving.ingress.admission import BrownOut, ServiceTimes
from serving.ingress.audits import Auditor
from serving.ingress.dispatch import Dispatcher
from serving.ingress.fairness import Work
from serving.ingress.inference import Inference, Inferred
from serving.ingress.outcome import (
    Outcome,
    SegmentRequest,
    audit_map,
    segment_answer,
    segment_result,
    wanted_masks,
)
from serving.problems import (
    DeadlinePassed,
    Invalid,
    NotFound,
    Overloaded,
    Overtaken,
    RequestProblem,
    Stale,
    StateUnavailable,
)
from serving.quota import Holder, Quotas
from serving.state.results import REPLAY_S, HeldMaps
from serving.state.store import Claim, Commit, StateStore
from serving.telemetry.segments import HUNG_UP, SegmentTelemetry
from serving.telemetry.tracing import describe_segment, tracer
from serving.tenant_cache import TenantCache

WAIT_STEP_S = 0.05
BYTES_PER_MEGABYTE = 1e6


class SegmentService:
    """Takes segments through the application; one instance an ingress replica."""

    def __init__(
        self,
        bundles: ServedBundles,
        settings: Settings,
        store: StateStore,
        quotas: Quotas,
        inference: Inference,
        dispatcher: Dispatcher,
        auditor: Auditor,
        telemetry: SegmentTelemetry,
        retention: TenantCache[Retention],
    ) -> None:
        self._bundles, self._settings, self._store, self._quotas = bundles, settings, store, quotas
        self._inference, self._dispatcher, self._times = inference, dispatcher, ServiceTimes()
        self._auditor, self._telemetry, self._retention = auditor, telemetry, retention
        self._background: set[asyncio.Task[Any]] = set()

    async def take(self, request: SegmentRequest) -> SegmentAnswer:
        """The segment's answer, for a camera that may hang up: what still waits then is given up before it
        cost anything; what is at work is finished, and the camera finds its answer when it asks again."""
        answering = asyncio.create_task(self._answered(request))
        self._background.add(answering)
        answering.add_done_callback(self._settled)
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            if not request.at_work:
                answering.cancel()
            raise

    def _settled(self, answering: asyncio.Task[SegmentAnswer]) -> None:
        self._background.discard(answering)
        if not answering.cancelled():
            answering.exception()  # a refusal that nobody waits for any more is nobody's failure

    async def _answered(self, request: SegmentRequest) -> SegmentAnswer:
        """The segment's answer, new or stored. Raises a `RequestProblem`."""
        describe_segment(request.tenant, request.camera, request.seq, request.configuration)
        looked_up = time.perf_counter()
        while True:
            claim = await self._store.begin(request.camera, request.seq)
            if claim.verdict == "replay":
                return await self._replayed(request, claim.detail)
            if claim.verdict != "wait":
                break
            # The first one is still running, perhaps at another replica: its answer is this one's too.
            if request.remaining_s(self._settings.answer_timeout_s) <= 0:
                raise DeadlinePassed("The same segment is still being worked on. Ask for it again.", 1)
            await asyncio.sleep(WAIT_STEP_S)
        self._refuse_unless_claimed(claim.verdict, request, claim.detail)
        state_ms = (time.perf_counter() - looked_up) * 1e3
        try:
            async with self._store.held(request.camera, request.seq):
                return await self._work(request, claim, state_ms)
        except BaseException as error:
            with suppress(RequestProblem):
                await self._store.release(request.camera, request.seq)
            if isinstance(error, asyncio.CancelledError):
                await self._telemetry.refused(request.tenant, request.camera, request.seq, HUNG_UP)
            raise

    def _refuse_unless_claimed(self, verdict: str, request: SegmentRequest, detail: str) -> None:
        if verdict == "missing":
            raise NotFound("There is no such camera. Register it with POST /v1/clients.")
        if verdict == "stale":
            raise Stale(
                f"Segment {request.seq} is not above the last accepted one, {detail}, and no answer is "
                f"stored for it any more. Go on with {int(detail) + 1}."
            )
        if verdict == "dropped":
            raise Stale(
                f"Segment {request.seq} was reported as dropped and counted so. Go on with the next one."
            )

    async def _work(self, request: SegmentRequest, claim: Claim, state_ms: float) -> SegmentAnswer:
        """Pays the quota, waits for a lane, infers and commits; what is refused for no fault of the tenant's
        is paid back."""
        segment = claim.segment
        assert segment is not None
        target = claim.target_miou if request.target is None else request.target
        bundle = request.bundle
        configuration = bundle.ladder[request.configuration]
        flops = bundle.segment_flops(configuration, segment.frames, segment.width, segment.height)
        amounts = {
            "segments_per_s": 1.0,
            "gflops_per_s": flops / 1e9,
            "bytes_per_s": float(len(request.body)),
        }
        limits, retention = (
            await self._quotas.limits(request.tenant),
            await self._retention.get(request.tenant),
        )
        payer = Holder(request.tenant, request.camera, claim.rates)
        await self._quotas.take(payer, amounts)
        now, allowed = time.perf_counter(), request.remaining_s(self._settings.answer_timeout_s)
        expected = self._times.expect(configuration.variant, flops, allowed, now, self._dispatcher.crowd)
        work = Work(
            tenant=request.tenant,
            camera=request.camera,
            share=limits.share,
            cost=float(flops),
            service_s=expected.service_s,
            spread_s=expected.spread_s,
            expires=now + allowed,
        )
        queued = time.perf_counter()
        try:
            async with AsyncExitStack() as held:
                with tracer.start_as_current_span("queue"):
                    await held.enter_async_context(self._dispatcher.lane(work))
                request.at_work = True
                level = self._dispatcher.brown_out()
                drawn = self._auditor.draw(level)
                started, crowd_before = time.perf_counter(), self._dispatcher.running
                shed = level >= BrownOut.LABEL_MAPS
                asked: MaskMode = "none" if shed else request.masks
                kept: MaskMode = "none" if shed else retention.label_maps
                masks = wanted_masks(asked, kept, bool(drawn))
                inferred = await self._infer(request, segment, masks)
                ended, crowd = time.perf_counter(), (crowd_before + self._dispatcher.running) / 2
                self._times.observe(configuration.variant, flops, ended - started, ended, crowd)
        except (DeadlinePassed, Overloaded, Overtaken, asyncio.CancelledError):
            await self._quotas.give_back(payer, amounts)
            raise
        outcome = Outcome(
            inferred=inferred,
            target=target,
            flops=flops,
            predicted=await self._predict(bundle, configuration.variant, inferred.encoding),
            correction=claim.correction,
            drawn=drawn,
            # below the camera's own only under pressure, and by no more than its tenant consents to
            aim=max(0.0, target - limits.lenience) if level >= BrownOut.TARGETS else target,
            shed=("label-maps",) if shed and request.masks != "none" else (),
            state_ms=state_ms,
            queue_ms=(started - queued) * 1e3,
            masks=await _part(inferred.segmentation.masks, asked),
            kept=kept,
            follow=self._bundles.follow(request.camera, bundle.id),
        )
        return await self._commit(request, segment, outcome, retention.window_s)

    async def _infer(self, request: SegmentRequest, segment: SegmentFormat, masks: MaskMode) -> Inferred:
        configuration = request.bundle.ladder[request.configuration]
        width, height = scaled_size(segment.width, segment.height, configuration.scale)
        longest = self._settings.answer_timeout_s
        job = SegmentJob(
            bundle=request.bundle.id,
            data=request.body,
            expected=DecodeLimits(width=width, height=height, frames=segment.frames),
            masks=masks,
            expires_at=time.time() + request.remaining_s(longest),
        )
        return await self._inference.run(configuration, job, lambda: request.remaining_s(longest))

    async def _predict(self, bundle: Bundle, variant: int, encoding: Encoding) -> float:
        """The mIoU to expect: the accuracy head's, or as audits calibrate confidence where there is none."""
        if encoding.accuracy is not None:
            return encoding.accuracy[1]
        return await self._auditor.predict(bundle, variant, encoding.confidence)

    async def _commit(
        self, request: SegmentRequest, segment: SegmentFormat, outcome: Outcome, window_s: float
    ) -> SegmentAnswer:
        answer, target = segment_answer(request, outcome), outcome.target
        if request.remaining_s(self._settings.answer_timeout_s) <= 0:
            raise DeadlinePassed("The segment was ready only after its deadline and was not counted.")
        allowed = None if request.bandwidth is None else request.bandwidth * segment.seconds
        size = len(request.body)
        predicted = answer.predicted_miou
        commit = Commit(
            seq=request.seq,
            configuration=request.configuration,
            cost=answer.cost,
            overuse=None if allowed is None else size / BYTES_PER_MEGABYTE - allowed,
            deficit=None if predicted is None else target - predicted,
            size=size,
            frames=segment.frames,
            target=target,
            flops=outcome.flops,
            answer=answer.model_copy(update={"masks": None}).model_dump_json(),
            embedding=answer.embedding,
            dropped=[(seq, request.bundle.costs[index]) for seq, index in request.dropped],
            audit_share=None if outcome.drawn is None else self._auditor.options.share,
            audit_map=audit_map(request, outcome) if outcome.drawn else None,
            bandwidth=request.bandwidth,
            bundle=request.bundle.id,
            decision=request.decision,
            result=segment_result(request, answer, target),
            window_s=window_s,
            maps=_held_maps(request, outcome),
            maps_kept_s=max(REPLAY_S if answer.masks else 0.0, window_s if outcome.kept != "none" else 0.0),
        )
        began = time.perf_counter()
        with tracer.start_as_current_span("commit"):
            done = await self._store.commit(request.camera, commit)
        commit_ms = (time.perf_counter() - began) * 1e3
        if done.past_hours:  # once an hour and camera, and nothing that an answer waits for
            self._in_background(self._fold(request.tenant, request.camera))
        if done.verdict == "committed":
            if done.drops:
                self._in_background(self._auditor.count_drops(request.bundle, done.drops))
            await self._telemetry.accepted(
                request.tenant,
                request.camera,
                answer,
                variant=request.bundle.ladder[request.configuration].variant,
                target=target,
                size=size,
                dropped=done.drops,
                commit_ms=commit_ms,
            )
            return answer
        if done.verdict == "replay":
            return await self._replayed(request, done.answer)
        self._refuse_unless_claimed(done.verdict, request, done.answer)
        raise Invalid(f"The segment's state is {done.verdict}.")

    def _in_background(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(act)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _replayed(self, request: SegmentRequest, stored: str) -> SegmentAnswer:
        """A stored answer, with its label maps as long as they are held."""
        await self._telemetry.replayed(request.tenant, request.camera, request.seq)
        answer = SegmentAnswer.model_validate_json(stored).model_copy(update={"replayed": True})
        if answer.masks is not None:  # older versions stored them in the answer
            return answer
        held = (await self._store.results.maps(request.camera, [request.seq])).get(request.seq)
        if held is not None:
            return answer.model_copy(update={"masks": await asyncio.to_thread(held.for_camera)})
        over = request.masks != "none"
        return answer.model_copy(update={"shed": ("label-maps",)}) if over else answer

    async def _fold(self, tenant: str, camera: str) -> None:
        with suppress(StateUnavailable):  # the next hour, or whoever reads the usage, folds it then
            await self._store.usage.fold(tenant, camera)


def _held_maps(request: SegmentRequest, outcome: Outcome) -> HeldMaps | None:
    """The label maps to hold, for readers and for the camera to ask again."""
    maps = outcome.inferred.segmentation.masks
    if maps is None or (outcome.masks is None and outcome.kept == "none"):
        return None
    asked = "none" if outcome.masks is None else request.masks
    return HeldMaps(request.seq, asked, outcome.kept, maps.model_dump_json())


async def _part(maps: LabelMaps | None, mode: MaskMode) -> LabelMaps | None:
    """What `mode` names of label maps; unpacking many frames does not hold up the event loop."""
    if maps is None or mode == "none":
        return None
    return await asyncio.to_thread(maps.last) if mode == "last" else maps
