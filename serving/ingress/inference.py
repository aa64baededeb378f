"""The deployments as the ingress calls them: a variant, then the encoder, within a segment's time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from configs.ladder import Configuration
from serving.deployments.messages import Encoding, Refusal, Segmentation, SegmentJob
from serving.problems import DeadlinePassed, Overloaded, Undecodable

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Inferred:
    """What the deployments made of a segment, and how long that took, messages included."""

    segmentation: Segmentation
    encoding: Encoding
    segment_ms: float
    embed_ms: float


class Inference:
    """Handles of the deployments; their failures come out as refusals."""

    def __init__(self, variants: Sequence[DeploymentHandle[Any]], encoder: DeploymentHandle[Any]) -> None:
        self._variants, self._encoder = variants, encoder

    async def run(
        self, configuration: Configuration, job: SegmentJob, remaining_s: Callable[[], float]
    ) -> Inferred:
        """Segments and embeds. Raises `Undecodable`, `DeadlinePassed` and `Overloaded`."""
        started = time.perf_counter()
        segmentation = await self.segment(configuration.variant, job, remaining_s)
        segmented = time.perf_counter()
        encoding = await _answer(
            lambda: self._encoder.encode.remote(segmentation.logits, configuration.index),
            remaining_s,
            "performance encoder",
        )
        if not isinstance(encoding, Encoding):
            raise _not_held("performance encoder", job.bundle)
        _check_bundle(job.bundle, segmentation.logits.bundle, encoding.bundle)
        done = time.perf_counter()
        return Inferred(segmentation, encoding, (segmented - started) * 1e3, (done - segmented) * 1e3)

    async def segment(self, variant: int, job: SegmentJob, remaining_s: Callable[[], float]) -> Segmentation:
        """Segments without embedding."""
        name = f"variant {variant}"
        result = await _answer(lambda: self._variants[variant].segment.remote(job), remaining_s, name)
        if isinstance(result, Refusal):
            if result.kind == "bundle":
                raise _not_held(name, job.bundle)
            if result.kind == "late":
                raise DeadlinePassed(f"The segment was given up: {result.reason}.")
            expected = job.expected
            raise Undecodable(
                f"{result.reason}. Send {expected.frames} frames of {expected.width}x{expected.height} as "
                "one H.264 stream in mp4."
            )
        assert isinstance(result, Segmentation)
        return result


def _not_held(name: str, bundle: str) -> Overloaded:
    """A replica that has just started, or saw a switch a moment before this one."""
    return Overloaded(f"A replica of the {name} does not hold bundle {bundle} just now. Send it again.", 1)


def _check_bundle(named: str, *made_by: str) -> None:
    """Raises `RuntimeError` unless all parts of an answer are of the bundle that its segment named."""
    if any(bundle != named for bundle in made_by):
        raise RuntimeError(f"a segment of bundle {named} was answered by {', '.join(made_by)}")


async def _answer(ask: Callable[[], object], remaining_s: Callable[[], float], name: str) -> object:
    """Awaits a deployment's response within the segment's time; failures become refusals.

    What a replica was at work on when it was lost, or failed on, is asked of another one: neither deployment
    keeps anything of a segment, so asking twice changes nothing. A third time would look for trouble: it may
    be the segment.
    """
    for again in (True, False):
        try:
            return await asyncio.wait_for(ask(), max(0.01, remaining_s()))  # type: ignore[arg-type]
        except TimeoutError as error:
            raise DeadlinePassed(f"The {name} did not answer before the segment's deadline.") from error
        except BackPressureError as error:
            raise Overloaded(f"The queue of the {name} is full. Send the segment again later.", 1) from error
        except RayActorError as error:
            if not again:
                raise Overloaded(
                    f"Two replicas of the {name} were lost and are being replaced. Send it again.", 1
                ) from error
        except (RayServeException, RayError) as error:
            raise Overloaded(f"The {name} cannot be reached just now. Send the segment again.", 2) from error
        except Exception as error:  # handles over gRPC raise what a replica raised, and gRPC's own errors
            logger.exception("The %s failed on a segment.", name)
            if not again:
                raise Overloaded(
                    f"The {name} failed twice on the segment. Send it again later.", 2
                ) from error
    raise AssertionError("every try returns or raises")
