"""A camera whose scene was shifted: what its policy learnt elsewhere no longer holds, and its log says so."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clients.adapter import drawn
from clients.transitions import AuditedTransition, Transition, pack_seen
from configs.bundle import Bundle
from rl.adapter.fleet import Fleet, Lags
from rl.adapter.learning import Learner, make_actor
from rl.adapter.learnt import Adapter
from rl.adapter.live import LiveAccuracy, learn_from_live
from rl.adapter.logged import LiveSegments, live_segments, read_transitions
from rl.adapter.network import ActorNetwork, AdapterArchitecture
from rl.adapter.play import Pair, Results, play
from rl.adapter.recipe import AdapterRecipe, FullInformation, Imitation
from rl.adapter.replay import Replay
from rl.adapter.runs import TrainedPolicy, load_for_bundle, save_policy
from rl.cli import train
from serving.miou import Floats
from tests.rl.adapter.conftest import of_split

RECIPE = AdapterRecipe(
    name="small",
    architecture=AdapterArchitecture(local=16, hidden=(32,)),
    cameras=64,
    imitation=Imitation(steps=150),
    full_information=FullInformation(steps=150, objective="lagrangian"),
)
PAIRS = [Pair(0.65, bandwidth) for bandwidth in (0.4, 0.6, 0.8)]
EXPLORE = 0.25
FALL = 0.4


@pytest.fixture(scope="module")
def actor(replay: Replay) -> ActorNetwork:
    """A policy that is good at the streets that it learnt from."""
    learn = of_split(replay, "train", "val")
    actor = make_actor(learn, learn, RECIPE)
    learner = Learner(learn, RECIPE, actor)
    learner.imitate()
    learner.ascend()
    return actor.eval()


@pytest.fixture(scope="module")
def shifted(replay: Replay) -> Replay:
    """The same streets from further away: half the size no longer shows what matters, whatever the embedding
    tells."""
    small = np.array([rung.scale <= 0.5 for rung in replay.ladder.configurations])
    miou = np.clip(replay.known.miou - FALL * small, 0.0, 1.0)
    return replace(replay, known=replace(replay.known, miou=miou))


def log_of(replay: Replay, actor: ActorNetwork, told: float = 0.0) -> list[Transition | AuditedTransition]:
    """What cameras on these streets would leave in the stream; the accuracy head is off by `told`, which
    every tenth segment's audit finds out."""
    rng = np.random.default_rng(0)
    targets, bandwidths = (
        np.array([getattr(pair, part) for pair in PAIRS]) for part in ("target", "bandwidth")
    )
    fleet = Fleet.over_runs(replay, targets, bandwidths, Lags())
    lines: list[Transition | AuditedTransition] = []
    going = np.ones(fleet.cameras, np.bool_)
    for _ in range(int((replay.runs[:, 1] - replay.runs[:, 0]).max())):
        cameras = fleet.look()
        with torch.inference_mode():
            logits = actor(torch.from_numpy(replay.layout.encode(cameras.seen))).numpy()
        picked = [drawn(row, EXPLORE, rng) for row in logits]
        chosen, outcomes = np.array([choice for choice, _ in picked]), fleet.outcomes()
        for camera in np.flatnonzero(going):
            row, choice = cameras.rows[camera], chosen[camera]
            name, miou = f"camera{camera}", float(replay.known.miou[row, choice])
            seen, seq = cameras.seen, int(row - cameras.begun[camera])
            embedding = np.asarray(replay.embeddings[row, choice], np.float32)
            lines.append(
                Transition(
                    camera=name,
                    id=f"{seq}-0",
                    seq=seq,
                    configuration=int(choice),
                    probability=picked[camera][1],
                    feedback=seq - int(seen.age[camera]) if seen.age[camera] else None,
                    seen=pack_seen(seen.bytes[camera], seen.features[camera]),
                    bytes=int(replay.known.bytes[row, choice]),
                    bandwidth=float(seen.bandwidth[camera]),
                    target=float(seen.target[camera]),
                    cost=float(replay.known.costs[choice]),
                    deficit=float(seen.target[camera]) - miou - told,
                    overuse=float(outcomes.overuse[camera, choice]),
                    embedding=base64.b64encode(embedding.tobytes()).decode(),
                )
            )
            if seq % 10 == 0:
                lines.append(AuditedTransition(camera=name, id=f"{seq}-1", seq=seq, miou=miou))
        going &= ~fleet.choose(chosen, outcomes)
    return lines


def failure_and_cost(replay: Replay, actor: ActorNetwork) -> tuple[float, float]:
    results = Results.of(replay, play(replay, Adapter(replay, actor), PAIRS), PAIRS)
    return float(results.failed[~results.infeasible].mean()), float(results.cost.mean())


def segments_of(replay: Replay, actor: ActorNetwork, told: float = 0.0) -> LiveSegments:
    return live_segments(log_of(replay, actor, told), replay.layout, margin=0.0)


def copied(actor: ActorNetwork, replay: Replay) -> ActorNetwork:
    other = ActorNetwork(replay.layout, RECIPE.architecture, len(replay.ladder))
    other.load_state_dict(actor.state_dict())
    return other


def test_a_policy_finds_its_way_on_a_shifted_street(
    actor: ActorNetwork, replay: Replay, shifted: Replay
) -> None:
    here, there = of_split(shifted, "train", "val"), of_split(shifted, "test")
    better = copied(actor, replay)
    fit = learn_from_live(better, segments_of(here, actor), here.layout, here.known.costs, 0.04)
    before, after = failure_and_cost(there, actor), failure_and_cost(there, better)
    assert before[0] > 0.3  # what it learnt does not hold there
    assert after[0] < 0.4 * before[0]
    assert after[1] < 0.95  # and not by taking the most expensive one throughout
    assert fit.failure_after < fit.failure_before


def test_accuracies_of_what_was_not_chosen_are_told(actor: ActorNetwork, shifted: Replay) -> None:
    here = of_split(shifted, "train")
    segments = segments_of(here, actor)
    told = LiveAccuracy(segments, here.layout, np.ones(len(segments), np.bool_)).of_all(segments)
    true = _true_accuracies(here, segments)
    assert np.abs(told - true).mean() < 0.5 * np.abs(true.mean() - true).mean()


def test_audits_tell_by_how_much_predictions_are_wrong(actor: ActorNetwork, shifted: Replay) -> None:
    here = of_split(shifted, "train")
    right, mended = segments_of(here, actor), segments_of(here, actor, told=0.1)
    np.testing.assert_allclose(mended.accuracy, right.accuracy, atol=0.02)


def test_the_command_goes_on_with_a_policy_from_a_file(
    actor: ActorNetwork, shifted: Replay, family: Bundle, tmp_path: Path
) -> None:
    about = TrainedPolicy(
        recipe="small",
        family=family.family,
        architecture=RECIPE.architecture,
        embedding=shifted.embeddings.shape[2],
        features=shifted.features.shape[1],
        seconds=1.0,
        margin=0.0,
        encoder=None,
    )
    save_policy(tmp_path / "ran", actor, about)
    lines = tmp_path / "lines.ndjson"
    lines.write_text(
        "".join(line.model_dump_json() + "\n" for line in log_of(of_split(shifted, "train"), actor))
    )
    command = ["adapter", "--from-live", str(lines), "--policy", str(tmp_path / "ran")]
    result = CliRunner().invoke(
        train, [*command, "--out", str(tmp_path / "out"), "--bundle", str(family.directory)]
    )
    assert result.exit_code == 0, result.output
    assert "expected to fail" in result.output
    learnt, told, _ = load_for_bundle(tmp_path / "out", family)
    assert told.recipe == "small, live"
    moved = [not learnt.state_dict()[name].equal(value) for name, value in actor.state_dict().items()]
    assert any(moved)

    lines.write_text(lines.read_text() + "{}\n")
    with pytest.raises(ValueError, match=r"lines.ndjson, line \d+"):
        read_transitions(lines)


def test_cameras_that_say_nothing_teach_nothing(actor: ActorNetwork, replay: Replay) -> None:
    lines = [
        line.model_copy(update={"probability": None}) if isinstance(line, Transition) else line
        for line in log_of(of_split(replay, "test"), actor)
    ]
    with pytest.raises(ValueError, match="let cameras explore"):
        live_segments(lines, replay.layout, 0.0)


def _true_accuracies(replay: Replay, segments: LiveSegments) -> Floats:
    """(n, configurations), by the order in which cameras were logged: run by run, pair by pair."""
    rows = [np.arange(*run) for _ in PAIRS for run in replay.runs]
    return np.asarray(replay.known.miou[np.concatenate(rows)])
