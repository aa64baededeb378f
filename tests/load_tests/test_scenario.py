"""Scenarios: which cameras send when, over links that behave as they are described."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import load_tests
from load_tests.cameras.scenario import Group, Links, Scenario, ScenarioError

FILES = sorted((Path(load_tests.__file__).parent / "scenarios").glob("*.yaml"))
seconds = st.floats(0, 1000)
shares = st.floats(0, 1)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    times = sorted(draw(st.lists(seconds, max_size=5)))
    points = tuple((at, draw(shares)) for at in [0.0, *times])
    return Group(tenant="a", cameras=draw(st.integers(1, 50)), active=points)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_comes_with_the_project_can_be_played(path: Path) -> None:
    scenario = Scenario.read(path)
    assert scenario.about
    assert scenario.warm_up_s < scenario.seconds
    assert all(group.active[-1][0] <= scenario.seconds for group in scenario.groups)


@given(groups(), seconds)
def test_the_share_of_cameras_that_send_lies_between_its_points(group: Group, second: float) -> None:
    values = [share for _, share in group.active]
    assert min(values) - 1e-9 <= group.share(second) <= max(values) + 1e-9


@given(groups(), seconds)
def test_as_many_cameras_send_as_the_share_says(group: Group, second: float) -> None:
    sending = sum(group.sends(camera, second) for camera in range(group.cameras))
    assert abs(sending - group.cameras * group.share(second)) <= 1


def test_a_ramp_is_straight() -> None:
    group = Group(tenant="a", cameras=10, active=((0, 0.0), (100, 1.0)))
    assert [group.share(second) for second in (0, 25, 50, 100, 200)] == pytest.approx([0, 0.25, 0.5, 1, 1])


@given(
    least=st.floats(0.05, 1),
    wider=st.floats(0, 1),
    at=st.floats(0, 0.99),
    shift=st.floats(0, 0.99),
    up=st.floats(1, 60),
    down=st.floats(1, 30),
    size=st.integers(1, 2_000_000),
)
def test_a_flapping_link_carries_what_its_time_up_allows(
    least: float, wider: float, at: float, shift: float, up: float, down: float, size: int
) -> None:
    """However long one looks, a link is up for its part of the time, give or take one period."""
    links = Links(bandwidth=(least, least + wider), up_s=up, down_s=down)
    trace = links.draw(at, shift)
    assert trace is not None
    rate = least + at * wider
    through = trace.sent_by(0.0, size)
    sending = size / 1e6 / rate
    expected = sending * (up + down) / up
    assert sending * (1 - 1e-9) <= through
    assert abs(through - expected) <= (up + down) * (1 + 1e-6)


def test_a_link_without_a_bandwidth_is_not_held_back() -> None:
    assert Links().draw(0.5, 0.5) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("about: x\nseconds: 10\ngroups: []", "groups"),
        ("about: x\nseconds: 10\ngroups: [{tenant: a, cameras: 1, speed: 3}]", "speed"),
        ("about: x\nseconds: 10\ngroups: [{tenant: a, cameras: 1, active: [[5, 1]]}]", "second 0"),
        ("about: x\nseconds: 10\ngroups: [{tenant: a, cameras: 1, links: {up_s: 3}}]", "down_s"),
        ("about: x\nseconds: 10\ngroups: [{tenant: A B, cameras: 1}]", "tenant"),
        ("about: [", "scenario"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=said):
        Scenario.read(path)


def test_a_scenario_grows_by_a_factor() -> None:
    scenario = Scenario(
        about="x", seconds=10, groups=(Group(tenant="a", cameras=3), Group(tenant="b", cameras=10))
    )
    assert [group.cameras for group in scenario.with_cameras(0.25).groups] == [1, 2]
