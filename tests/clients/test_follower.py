"""A camera that follows its server to another bundle: in the background, whole, and between two segments."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from clients import follower
from clients.codec import CodecFlags
from clients.embedding import Embedding
from clients.epoch import Epoch, Terms, on_ladder
from clients.follower import BundleFollower
from clients.policy import FixedPolicy, Observation
from clients.protocol import SegmentAnswer, Timings
from configs.bundle import BundleError
from configs.ladder import Configuration, load_ladder

LADDER = load_ladder().configurations
TIMINGS = Timings(receive=0, queue=0, decode=0, infer=0, embed=0, state=0, total=0)


def epoch(bundle: str, configurations: tuple[Configuration, ...] = LADDER) -> Epoch:
    terms = Terms(bundle, configurations, (1.0,) * len(configurations), ("road", "sky"), CodecFlags())
    return Epoch(terms, FixedPolicy(3))


def answer(bundle: str, seq: int, **more: Any) -> SegmentAnswer:
    return SegmentAnswer(
        seq=seq, configuration=3, bundle=bundle, embedding=(1.0, 2.0), predicted_miou=0.5, cost=1.0,
        class_shares={}, timings_ms=TIMINGS, **more,
    )  # fmt: skip


def test_an_embedding_is_given_to_those_of_its_own_bundle_alone() -> None:
    embedding = Embedding("a-1", np.ones(3, np.float32))
    assert embedding.of("a-1").tolist() == [1, 1, 1]
    with pytest.raises(BundleError, match="an embedding of a-1 says nothing to what was learnt with b-2"):
        embedding.of("b-2")


def test_an_answer_of_the_bundle_before_teaches_the_new_epoch_nothing() -> None:
    seen: list[Observation] = []

    class Watching(FixedPolicy):
        def choose(self, observation: Observation):
            seen.append(observation)
            return super().choose(observation)

    new = epoch("b-2")
    new.policy = Watching(3)
    new.learn(answer("a-1", 4, correction=0.5))
    new.choose(5, [], 0.65, 1.0)
    new.learn(answer("b-2", 5, correction=0.25))
    choice, made_by = new.choose(6, [], 0.65, 1.0)
    assert [observation.correction for observation in seen] == [0, 0.25]
    assert seen[0].feedback is None
    assert seen[1].feedback is not None
    assert seen[1].feedback.embedding.bundle == "b-2"
    assert (choice.configuration, made_by) == (3, 5)


def test_a_configuration_is_told_on_another_ladder_by_what_it_is() -> None:
    fewer = tuple(Configuration(index, c.scale, c.qp, c.variant) for index, c in enumerate(LADDER[10:20]))
    assert on_ladder(LADDER[12], fewer) == 2
    assert on_ladder(LADDER[40], fewer) == 0  # not there: the most expensive, so that no cost is told too low


def test_a_bundle_is_fetched_once_in_the_background_and_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "AGAIN_S", 0.0)
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make(bundle: str) -> Epoch:
        made.append(bundle)
        begun.set()
        go_on.wait(10)
        return epoch(bundle)

    following = BundleFollower(make, lambda line: None)
    following.ask("b-2")
    assert begun.wait(10)
    following.ask("c-3")  # one at a time
    assert following.take() is None
    go_on.set()
    while (taken := following.take()) is None:
        pass
    assert (taken.bundle, made) == ("b-2", ["b-2"])
    assert following.take() is None
    following.close()


def test_a_bundle_that_cannot_be_taken_is_told_of_and_what_runs_goes_on() -> None:
    said: list[str] = []

    def fail(bundle: str) -> Epoch:
        raise BundleError("the bundle's signature is wrong")

    following = BundleFollower(fail, said.append)
    following.ask("b-2")
    while not said:
        assert following.take() is None
    assert said == ["bundle b-2 cannot be taken, the one before goes on: the bundle's signature is wrong"]
    following.close()


def test_the_first_key_is_trusted_and_none_that_comes_later() -> None:
    following = BundleFollower(epoch, lambda line: None)
    following.pin(None)
    following.pin("first")
    following.pin("second")
    assert following.key == "first"
    following.close()
