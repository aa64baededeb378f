"""Audits in the database: which are asked for, what they showed, how predictions are calibrated by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from serving.calibration import KEPT, Calibration
from serving.promise import Audits
from serving.state.averages import SMOOTHING
from serving.state.connection import PREFIX, SCRIPTS, camera_key, reaching_redis
from serving.state.results import results_key
from serving.state.transitions import transitions_key

AUDIT_FIELDS = (
    "audit_share",
    "promise_segments",
    "audits_asked",
    "audits_done",
    "audits_failed",
    "promise_dropped",
)


class AuditStore:
    """Atomic acts on audits; `client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any, transitions_kept: int) -> None:
        self._redis, self._transitions_kept = client, transitions_kept
        self._settle = client.register_script((SCRIPTS / "audit.lua").read_text(encoding="utf-8"))

    async def asked(self, camera: str, seq: int) -> str | None:
        """The label map (JSON) that an audit of this segment is compared with; None if none is asked for."""
        async with reaching_redis():
            held: str | None = await self._redis.hget(audits_key(camera), str(seq))
        return None if held is None else held.partition("\n")[2]

    async def settle(self, camera: str, seq: int, miou: float) -> Literal["met", "missed", ""]:
        """Counts what an audit showed and corrects the average, once; '' if none was asked for. Says how the
        segment's target was served."""
        async with reaching_redis():
            verdict: Literal["met", "missed", ""] = await self._settle(
                keys=[camera_key(camera), audits_key(camera), transitions_key(camera), results_key(camera)],
                args=[
                    str(seq),
                    format(miou, ".17g"),
                    format(SMOOTHING, ".17g"),
                    str(self._transitions_kept),
                    format(KEPT, ".17g"),
                ],
            )
        return verdict

    async def counted(self, cameras: Sequence[str]) -> list[Audits]:
        """What was counted of these cameras; those without any audit are left out."""
        async with reaching_redis(), self._redis.pipeline(transaction=False) as reads:
            for camera in cameras:
                reads.hmget(camera_key(camera), *AUDIT_FIELDS)
            found = await reads.execute()
        return [audits for values in found if (audits := audits_of(values)) is not None]

    async def calibration(self, family: str) -> dict[int, Calibration]:
        """What is known of a family's predictions, by variant."""
        async with reaching_redis():
            held: dict[str, str] = await self._redis.hgetall(_calibration_key(family))
        sums: dict[int, dict[str, float]] = {}
        for name, value in held.items():
            variant, _, moment = name.partition(":")
            sums.setdefault(int(variant), {})[moment] = float(value)
        return {variant: Calibration(**moments) for variant, moments in sums.items()}

    async def calibrate(self, family: str, variant: int, confidence: float, miou: float) -> None:
        """Adds one pair of confidence and measured mIoU."""
        moments = Calibration.of(confidence, miou).moments()
        async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
            for moment, value in moments.items():
                transaction.hincrbyfloat(_calibration_key(family), f"{variant}:{moment}", value)
            await transaction.execute()


def audits_key(camera: str) -> str:
    """Name of the hash of a camera's audits that are asked for, by seq."""
    return f"{PREFIX}{{{camera}}}:audits"


def _calibration_key(family: str) -> str:
    return f"{PREFIX}calibration:{family}"


def audits_of(values: Sequence[str | None]) -> Audits | None:
    """What the camera's `AUDIT_FIELDS` say; None where no audit was ever drawn."""
    share, *counts = values
    return None if share is None else Audits(float(share), *(int(count or 0) for count in counts))
