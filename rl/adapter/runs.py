"""What training leaves on disk: encoders with the embeddings of a profile, and policies with their margin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.state import StateLayout
from configs.bundle import Bundle, BundleError
from configs.faults import describe_faults
from rl.adapter.network import ActorNetwork, AdapterArchitecture
from rl.adapter.replay import Replay
from rl.profiles.store import ProfileError

EMBEDDINGS, PREDICTED, ROWS = "embeddings.npy", "predicted.npy", "rows.json"
ADVANTAGE = "advantage.npy"
WEIGHTS, POLICY = "policy.pt", "policy.json"


class TrainedPolicy(BaseModel):
    """What stands beside a policy's weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    family: str = Field(description="`Bundle.family` of the profile that it learnt from")
    architecture: AdapterArchitecture
    embedding: int
    features: int
    seconds: float
    margin: float = Field(description="on A, chosen on drives of their own")
    encoder: str | None = Field(description="folder of the encoder whose embeddings it learnt from")


def fold_folder(folder: Path, number: int, folds: int) -> Path:
    """Where the encoder lies that never saw this group of drives."""
    return folder / f"fold{number}of{folds}"


def write_rows(folder: Path, replay: Replay, family: str) -> None:
    """Says which segments the embeddings in `folder` belong to."""
    content = {"family": family, "rows": _rows(replay)}
    (folder / ROWS).write_text(json.dumps(content) + "\n", encoding="utf-8")


def with_embeddings_of(replay: Replay, folder: Path, family: str) -> Replay:
    """The replay with embeddings and predicted accuracies mapped from an encoder's folder. Raises
    `ProfileError` where they are of other segments or of another family."""
    try:
        found = json.loads((folder / ROWS).read_text(encoding="utf-8"))
        embeddings, predicted, advantage = (
            np.load(folder / name, mmap_mode="r") for name in (EMBEDDINGS, PREDICTED, ADVANTAGE)
        )
    except (OSError, ValueError) as error:
        raise ProfileError(
            f"{folder} holds no embeddings ({error}): make them with penance-train encoder"
        ) from error
    if found != {"family": family, "rows": _rows(replay)}:
        raise ProfileError(
            f"{folder} has embeddings of {len(found['rows'])} segments of {found['family']}, the profile has "
            f"{len(replay)} of {family}: run penance-train encoder on this profile and index"
        )
    return replace(replay, embeddings=embeddings, predicted=predicted, advantage=advantage)


def save_policy(folder: Path, actor: ActorNetwork, about: TrainedPolicy) -> None:
    """Writes weights and what stands beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(actor.state_dict(), folder / WEIGHTS)
    (folder / POLICY).write_text(about.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_for_bundle(folder: Path, bundle: Bundle) -> tuple[ActorNetwork, TrainedPolicy, StateLayout]:
    """A policy with the layout of its state on the bundle's ladder. Raises `BundleError` where it was learnt
    for another family, and `ProfileError`."""
    about = _about(folder)
    if about.family != bundle.family:
        raise BundleError(
            f"{folder} was learnt from outcomes of {about.family}, {bundle.id} has {bundle.family}: record "
            "its profile and train a policy on it"
        )
    layout = StateLayout(bundle.ladder.configurations, about.embedding, about.features, about.seconds)
    return _actor(folder, about, layout, len(bundle.ladder)), about, layout


def load_policy(folder: Path, replay: Replay) -> tuple[ActorNetwork, TrainedPolicy]:
    """A policy for this profile's state. Raises `ProfileError`."""
    about = _about(folder)
    found = (replay.embeddings.shape[2], replay.features.shape[1])
    if found != (about.embedding, about.features):
        raise ProfileError(
            f"{folder} was learnt on {about.embedding} embedding values and {about.features} features, the "
            f"profile has {found[0]} and {found[1]}: train it again"
        )
    return _actor(folder, about, replay.layout, len(replay.ladder)), about


def _about(folder: Path) -> TrainedPolicy:
    try:
        return TrainedPolicy.model_validate_json((folder / POLICY).read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ProfileError(f"{folder / POLICY} is damaged: {describe_faults(error)}") from error
    except OSError as error:
        raise ProfileError(f"{folder} holds no policy: train one with penance-train adapter") from error


def _actor(folder: Path, about: TrainedPolicy, layout: StateLayout, configurations: int) -> ActorNetwork:
    actor = ActorNetwork(layout, about.architecture, configurations)
    actor.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    return actor.eval()


def _rows(replay: Replay) -> Sequence[list[object]]:
    return [[str(clip), int(time)] for clip, time in zip(replay.clips, replay.times, strict=True)]
