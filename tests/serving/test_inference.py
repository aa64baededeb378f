"""Calls of deployments: what a lost replica was at work on is asked of another, once, in the time left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from ray.exceptions import RayActorError

from serving.ingress.inference import _answer
from serving.problems import DeadlinePassed, Overloaded


class Replicas:
    """Of which so many are lost while they work; then one answers."""

    def __init__(self, lost: int, works_s: float = 0.0, failure: Exception | None = None) -> None:
        self.asked, self._lost, self._works_s = 0, lost, works_s
        self._failure = failure or RayActorError()

    def ask(self) -> Awaitable[str]:
        async def work() -> str:
            self.asked += 1
            await asyncio.sleep(self._works_s)
            if self.asked <= self._lost:
                raise self._failure
            return "answer"

        return work()


def left(seconds: float) -> Callable[[], float]:
    """Seconds that are left, by a clock that runs."""
    ends = asyncio.get_running_loop().time() + seconds
    return lambda: ends - asyncio.get_running_loop().time()


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_lost_replica_is_not_noticed_where_there_is_another(lost: int) -> None:
    replicas = Replicas(lost)
    assert await _answer(replicas.ask, left(5), "variant 3") == "answer"
    assert replicas.asked == lost + 1


async def test_a_segment_that_two_replicas_were_lost_with_is_not_tried_on_a_third() -> None:
    replicas = Replicas(2)
    with pytest.raises(Overloaded, match="Two replicas of the variant 3 were lost"):
        await _answer(replicas.ask, left(5), "variant 3")
    assert replicas.asked == 2


async def test_the_second_try_has_only_the_time_that_the_first_left() -> None:
    replicas = Replicas(1, works_s=0.2)
    with pytest.raises(DeadlinePassed):
        await _answer(replicas.ask, left(0.3), "variant 3")
    assert replicas.asked == 2


@pytest.mark.parametrize("failure", [EOFError("the decoder process ended while it started"), ValueError()])
async def test_what_a_replica_raised_itself_is_tried_once_more_and_then_refused(failure: Exception) -> None:
    replicas = Replicas(1, failure=failure)
    assert await _answer(replicas.ask, left(5), "variant 3") == "answer"
    replicas = Replicas(2, failure=failure)
    with pytest.raises(Overloaded, match="failed twice"):
        await _answer(replicas.ask, left(5), "variant 3")
    assert replicas.asked == 2
