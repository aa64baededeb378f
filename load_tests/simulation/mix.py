"""What cameras choose: the shipped policy played over recorded drives, and what it is compared with.

The drives are those of a profile's digest that neither the family nor the policy learnt from (its split
`test`), in the paper's setting: target 0.65, bandwidths from 0.4 to 0.8 MB/s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file

from clients.inference import one_thread_session
from configs.bundle import Bundle, BundleError
from rl.adapter.evaluation import BY_BANDWIDTH, Fold, split_fold
from rl.adapter.fleet import Cameras, Rows
from rl.adapter.play import Results, play
from rl.adapter.policies import Audited, BestStatic, Cautious, Policy, Static
from rl.adapter.recorded import Recorded
from rl.adapter.replay import Replay
from rl.adapter.shown import Shown
from rl.profiles.store import ProfileError
from serving.performance.network import AccuracyHead, load_encoder

ADAPTER, BEST_STATIC, DEAREST = "adapter", "best static", "most expensive"
SMALLER = "adapter, scale 0.75"
"""What the adapter chooses, but never at full size: decoding costs a GPU node more than its networks do."""
SMALLER_SCALE = 0.75
PROFILE = Path(__file__).parents[2] / "configs" / "profiles" / "streets.parquet"


class Track(BaseModel):
    """What one camera sends, over and over: configurations and bodies' sizes, segment by segment, and its
    uplink in megabytes per second."""

    model_config = ConfigDict(frozen=True)

    bandwidth: float
    configurations: tuple[int, ...]
    sizes: tuple[int, ...]


class Mix(BaseModel):
    """What the cameras of one policy send; failures and cost as `docs/adapter.md` counts them."""

    model_config = ConfigDict(frozen=True)

    policy: str
    tracks: tuple[Track, ...]
    failure_rate: float
    cost: float  # normalised, of what was chosen, dropped or not

    def shares(self) -> dict[int, float]:
        """How often each configuration is chosen."""
        chosen = [configuration for track in self.tracks for configuration in track.configurations]
        found, counts = np.unique(chosen, return_counts=True)
        return {int(one): float(count) / len(chosen) for one, count in zip(found, counts, strict=True)}


@dataclass(frozen=True)
class ShippedPolicy:
    """A bundle's policy as cameras run it, for many at once."""

    replay: Replay
    bundle: Bundle

    def __post_init__(self) -> None:
        if self.bundle.manifest.policy is None:
            raise BundleError(f"{self.bundle.id} has no policy: take a bundle that has one")

    def choose(self, cameras: Cameras) -> Rows:
        entry = self.bundle.manifest.policy
        assert entry is not None
        session = one_thread_session(self.bundle.path(entry.model))
        states = self.replay.layout.encode(cameras.seen).astype(np.float32)
        logits = [session.run(None, {"state": state[None]})[0][0] for state in states]
        return np.asarray(np.stack(logits).argmax(1))


@dataclass(frozen=True)
class NoLarger:
    """Another policy, whose choices at a larger scale are taken at `SMALLER_SCALE` and the same QP."""

    policy: Policy
    bundle: Bundle

    def choose(self, cameras: Cameras) -> Rows:
        ladder = self.bundle.ladder
        smaller = [
            ladder.index(min(rung.scale, SMALLER_SCALE), rung.qp, rung.variant) for rung in ladder.rungs()
        ]
        return np.array(smaller)[self.policy.choose(cameras)]


def mixes(profile: Path, bundle: Bundle) -> dict[str, Mix]:
    """By the policy's name. Raises `ProfileError` and `BundleError` where profile and bundle do not belong
    together."""
    recorded = Recorded.load(profile, None, bundle)
    fold = split_fold(_embedded(recorded, bundle), recorded.known_index)
    entry = bundle.manifest.policy
    shipped = Audited(ShippedPolicy(fold.judged, bundle))
    adapter = Cautious(shipped, 0.0 if entry is None else entry.margin)
    policies: dict[str, Policy] = {
        ADAPTER: adapter,
        SMALLER: NoLarger(adapter, bundle),
        BEST_STATIC: BestStatic(fold.learn.known),
        DEAREST: Static(0),
    }
    return {name: _mix(name, fold, policy) for name, policy in policies.items()}


@torch.inference_mode()
def _embedded(recorded: Recorded, bundle: Bundle) -> Replay:
    """The replay with what the bundle's own encoder and accuracy head say of every configuration."""
    encoder_file, head_file = bundle.manifest.encoder, bundle.manifest.accuracy_head
    if recorded.expectations is None or encoder_file is None or head_file is None:
        raise ProfileError(
            "the policy is played on a digest, by a bundle with an encoder and an accuracy head: give both"
        )
    classes, every = len(bundle.manifest.classes), np.arange(len(bundle.ladder))
    encoder = load_encoder(bundle.path(encoder_file), classes)
    head = AccuracyHead(len(every)).eval()
    head.load_state_dict(load_file(bundle.path(head_file)))
    shown = Shown(classes, None, recorded.expectations)
    embeddings, predicted = [], []
    for row in range(len(recorded.replay)):
        embedding = shown.embedded(encoder, np.full(len(every), row), every)
        embeddings.append(embedding.half().numpy())
        predicted.append(head(embedding, torch.from_numpy(every))[:, 1].half().numpy())
    return replace(recorded.replay, embeddings=np.stack(embeddings), predicted=np.stack(predicted))


def _mix(name: str, fold: Fold, policy: Policy) -> Mix:
    replay = fold.judged
    choices = play(replay, policy, BY_BANDWIDTH)
    results = Results.of(replay, choices, BY_BANDWIDTH, audited=name in (ADAPTER, SMALLER))
    tracks = [
        Track(
            bandwidth=pair.bandwidth,
            configurations=tuple(chosen[start:end].tolist()),
            sizes=tuple(int(size) for size in sizes[start:end]),
        )
        for pair, chosen, sizes in zip(BY_BANDWIDTH, choices, results.bytes, strict=True)
        for start, end in replay.runs
    ]
    return Mix(
        policy=name,
        tracks=tuple(tracks),
        failure_rate=float(results.failed.mean()),
        cost=float(results.cost.mean()),
    )
