"""The way of one segment: claim, admit, segment, embed, commit, answer.

The state changes in one atomic step at the end, and only then is the answer given. Whatever goes wrong
before leaves nothing behind but a claim, which the next try takes over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from clients.codec import DecodeLimits, scaled_size
from clients.protocol import MaskMode, SegmentAnswer, SegmentFormat, Timings
from configs.bundle import Bundle
from configs.settings import Settings
from serving.deployments.encoder import Encoding
from serving.deployments.variant import Refusal, Segmentation, SegmentJob
from serving.ingress.admission import VariantLoad
from serving.problems import (
    DeadlinePassed,
    Invalid,
    NotFound,
    Overloaded,
    RequestProblem,
    Stale,
    StateUnavailable,
    Undecodable,
)
from serving.quota import Quotas
from serving.state.store import Commit, StateStore

WAIT_STEP_S = 0.05
BYTES_PER_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """One upload, validated. Times are `time.perf_counter` seconds; bandwidth in megabytes per second."""

    tenant: str
    camera: str
    seq: int
    configuration: int
    bandwidth: float | None
    target: float | None
    deadline_s: float | None
    masks: MaskMode
    dropped: tuple[tuple[int, int], ...]
    body: bytes
    arrived: float
    received: float

    def remaining_s(self, longest_s: float) -> float:
        allowed = longest_s if self.deadline_s is None else min(self.deadline_s, longest_s)
        return allowed - (time.perf_counter() - self.arrived)


class SegmentService:
    """Takes segments through the application; one instance an ingress replica."""

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        store: StateStore,
        quotas: Quotas,
        variants: Sequence[DeploymentHandle[Any]],
        encoder: DeploymentHandle[Any],
    ) -> None:
        self._bundle, self._settings, self._store, self._quotas = bundle, settings, store, quotas
        self._variants, self._encoder = variants, encoder
        self._loads = [VariantLoad() for _ in variants]
        self._background: set[asyncio.Task[None]] = set()

    async def answer(self, request: SegmentRequest) -> SegmentAnswer:
        """The segment's answer, new or stored. Raises a `RequestProblem`."""
        looked_up = time.perf_counter()
        while True:
            claim = await self._store.begin(request.camera, request.seq)
            if claim.verdict == "replay":
                return SegmentAnswer.model_validate_json(claim.detail).model_copy(update={"replayed": True})
            if claim.verdict != "wait":
                break
            # The first one is still running, perhaps at another replica: its answer is this one's too.
            if request.remaining_s(self._settings.answer_timeout_s) <= 0:
                raise DeadlinePassed("The same segment is still being worked on. Ask for it again.", 1)
            await asyncio.sleep(WAIT_STEP_S)
        self._refuse_unless_claimed(claim.verdict, request, claim.detail)
        assert claim.segment is not None
        state_ms = (time.perf_counter() - looked_up) * 1e3
        try:
            async with self._claimed(request):
                target = claim.target_miou if request.target is None else request.target
                return await self._work(request, claim.segment, target, state_ms)
        except BaseException:
            with suppress(RequestProblem):
                await self._store.release(request.camera, request.seq)
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

    @asynccontextmanager
    async def _claimed(self, request: SegmentRequest) -> AsyncIterator[None]:
        """Renews the claim in the background while the segment is worked on."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._settings.lease_s / 3)
                with suppress(RequestProblem):
                    await self._store.renew(request.camera, request.seq)

        renewal = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewal.cancel()

    async def _work(
        self, request: SegmentRequest, segment: SegmentFormat, target: float, state_ms: float
    ) -> SegmentAnswer:
        amounts = self._amounts(request, segment)
        await self._quotas.take(request.tenant, amounts)
        sent = time.perf_counter()
        try:
            result = await self._segment(request, segment)
        except (DeadlinePassed, Overloaded):
            await self._quotas.give_back(request.tenant, amounts)
            raise
        segmented = time.perf_counter()
        encoding = await self._call(
            self._encoder.encode.remote(result.logits, request.configuration), request, "performance encoder"
        )
        assert isinstance(encoding, Encoding)
        done = time.perf_counter()
        names = self._bundle.manifest.classes
        answer = SegmentAnswer(
            seq=request.seq,
            configuration=request.configuration,
            bundle=self._bundle.id,
            embedding=encoding.embedding if encoding.trained else None,
            predicted_miou=encoding.accuracy[1] if encoding.accuracy else None,
            cost=self._bundle.costs[request.configuration],
            class_shares={
                name: share for name, share in zip(names, result.class_shares, strict=True) if share > 0
            },
            timings_ms=Timings(
                receive=(request.received - request.arrived) * 1e3,
                state=state_ms,
                queue=max(0.0, (segmented - sent) * 1e3 - result.busy_ms),
                decode=result.decode_ms,
                infer=result.infer_ms,
                embed=(done - segmented) * 1e3,
                total=(done - request.arrived) * 1e3,
            ),
            masks=result.masks,
        )
        if request.remaining_s(self._settings.answer_timeout_s) <= 0:
            raise DeadlinePassed("The segment was ready only after its deadline and was not counted.")
        return await self._commit(request, segment, target, answer)

    def _amounts(self, request: SegmentRequest, segment: SegmentFormat) -> dict[str, float]:
        """What the segment takes of its tenant's quota."""
        flops = self._flops(request, segment)
        return {"segments_per_s": 1.0, "gflops_per_s": flops / 1e9, "bytes_per_s": float(len(request.body))}

    def _flops(self, request: SegmentRequest, segment: SegmentFormat) -> int:
        configuration = self._bundle.ladder[request.configuration]
        return self._bundle.segment_flops(configuration, segment.frames, segment.width, segment.height)

    async def _segment(self, request: SegmentRequest, segment: SegmentFormat) -> Segmentation:
        configuration = self._bundle.ladder[request.configuration]
        load = self._loads[configuration.variant]
        remaining = request.remaining_s(self._settings.answer_timeout_s)
        admission = load.admit(request.configuration, remaining)
        if not admission.admitted:
            problem = DeadlinePassed if request.deadline_s is not None else Overloaded
            raise problem(
                f"Not accepted: {admission.reason}. Choose a cheaper configuration.", admission.retry_after_s
            )
        width, height = scaled_size(segment.width, segment.height, configuration.scale)
        job = SegmentJob(
            data=request.body,
            expected=DecodeLimits(width=width, height=height, frames=segment.frames),
            masks=request.masks,
            expires_at=time.time() + remaining,
        )
        load.waiting += 1
        try:
            name = f"variant {configuration.variant}"
            result = await self._call(
                self._variants[configuration.variant].segment.remote(job), request, name
            )
        finally:
            load.waiting -= 1
        if isinstance(result, Refusal):
            if result.undecodable:
                raise Undecodable(
                    f"{result.reason}. Send {segment.frames} frames of {width}x{height} as one H.264 stream "
                    "in mp4."
                )
            raise DeadlinePassed(f"The segment was given up: {result.reason}.")
        assert isinstance(result, Segmentation)
        load.observe(request.configuration, result.busy_ms / 1e3)
        return result

    async def _call(self, response: object, request: SegmentRequest, name: str) -> object:
        """Awaits a deployment's response within the segment's time; failures become refusals."""
        remaining = max(0.01, request.remaining_s(self._settings.answer_timeout_s))
        try:
            return await asyncio.wait_for(response, remaining)  # type: ignore[arg-type]
        except TimeoutError as error:
            raise DeadlinePassed(f"The {name} did not answer before the segment's deadline.") from error
        except BackPressureError as error:
            raise Overloaded(f"The queue of the {name} is full. Send the segment again later.", 1) from error
        except RayActorError as error:
            raise Overloaded(
                f"A replica of the {name} was lost and is being replaced. Send it again.", 1
            ) from error
        except (RayServeException, RayError) as error:
            raise Overloaded(f"The {name} cannot be reached just now. Send the segment again.", 2) from error

    async def _commit(
        self, request: SegmentRequest, segment: SegmentFormat, target: float, answer: SegmentAnswer
    ) -> SegmentAnswer:
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
            flops=self._flops(request, segment),
            answer=answer.model_dump_json(),
            embedding=answer.embedding,
            dropped=[(seq, self._bundle.costs[index]) for seq, index in request.dropped],
        )
        done = await self._store.commit(request.camera, commit)
        if done.past_hours:  # once an hour and camera, and nothing that an answer waits for
            folding = asyncio.create_task(self._fold(request.tenant, request.camera))
            self._background.add(folding)
            folding.add_done_callback(self._background.discard)
        if done.verdict == "committed":
            return answer
        if done.verdict == "replay":
            return SegmentAnswer.model_validate_json(done.answer).model_copy(update={"replayed": True})
        self._refuse_unless_claimed(done.verdict, request, done.answer)
        raise Invalid(f"The segment's state is {done.verdict}.")

    async def _fold(self, tenant: str, camera: str) -> None:
        with suppress(StateUnavailable):  # the next hour, or whoever reads the usage, folds it then
            await self._store.usage.fold(tenant, camera)
