"""Cameras that send steadily through a fault: counted exactly, answered again soon."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from configs.bundle import Bundle
from load_tests.application import RunningApplication
from load_tests.chaos.camera_kill import kill_camera
from load_tests.chaos.faults import ONLY, Scene
from load_tests.chaos.journal import FORM
from load_tests.chaos.kills import QP, SCALE, Load, run_case
from load_tests.chaos.link import Link
from load_tests.footage import Footage


@pytest.fixture(scope="module")
def load(bundle: Path) -> Load:
    held = Bundle.load(bundle)
    (body,) = Footage(held, FORM, stretches=1).bodies(held.ladder[held.ladder.index(SCALE, QP, ONLY)])
    return Load(held, body, cameras=3, interval_s=0.5)


@pytest.fixture(scope="module")
def scene(application: RunningApplication) -> Iterator[Scene]:
    with Link(urlsplit(application.url).port or 0) as link:
        yield Scene(application, link)


@pytest.mark.parametrize("case", ["decoder killed", "link cut", "link silent"])
def test_cameras_are_answered_again_and_counted_exactly(scene: Scene, load: Load, case: str) -> None:
    outcome = run_case(case, scene, load)
    assert outcome.not_run == ""
    assert outcome.differences == ()
    assert outcome.answered > 0
    assert math.isfinite(outcome.recovered_s)


def test_a_camera_that_is_killed_and_started_anew_goes_on_with_the_next_number(
    application: RunningApplication, load: Load, tmp_path: Path
) -> None:
    _, _, answered, differences = kill_camera(application, tmp_path, load.rung(ONLY))
    assert differences == ()
    assert answered > 1
