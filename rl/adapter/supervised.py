"""Learning to predict the accuracies of all configurations: from the state, or from the first frame
(DAO-C)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from configs.bundle import Bundle
from configs.timing import TIMINGS
from rl.adapter.environment import begin_episodes
from rl.adapter.fleet import Fleet
from rl.adapter.learning import Progress, byte_margins, descend, example_states, untold
from rl.adapter.learnt import FirstFrameNetwork, Supervised
from rl.adapter.network import PartsNetwork
from rl.adapter.policies import Optimal
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.replay import Replay
from rl.profiles.store import SizesOrigin, read_sizes, sizes_path
from serving.miou import Floats
from serving.performance.network import INPUT_SIZE

RANDOM_SHARE = 0.3
"""Of choices while states are collected; the others are Optimal's, near which a good policy's are."""

FRAME_BATCH, FRAME_RATE = 16, 1e-3


def fit_supervised(
    learn: Replay, check: Replay, recipe: AdapterRecipe, steps: int, progress: Progress = untold
) -> Supervised:
    """Squared errors of all accuracies, on states from the way of random and of Optimal's choices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        predictor = PartsNetwork(learn.layout, recipe.architecture, len(learn.ladder))
    predictor.standardise(example_states(learn, recipe))
    fleet, oracle = Fleet(learn, recipe.cameras, np.random.default_rng(recipe.seed)), Optimal(learn)
    begin_episodes(fleet, np.ones(recipe.cameras, np.bool_))
    optimizer = torch.optim.AdamW(predictor.parameters(), recipe.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for step in range(steps):
        cameras = fleet.look()
        states = torch.from_numpy(learn.layout.encode(cameras.seen))
        wanted = torch.from_numpy(learn.known.miou[cameras.rows]).float()
        loss = ((predictor(states).sigmoid() - wanted) ** 2).mean()
        descend(optimizer, loss)
        schedule.step()
        progress("supervised", step, {"loss": float(loss.detach())})
        strays = fleet.rng.random(recipe.cameras) < RANDOM_SHARE
        anything = fleet.rng.integers(len(learn.ladder), size=recipe.cameras)
        over = fleet.choose(np.where(strays, anything, oracle.choose(cameras)), fleet.outcomes())
        begin_episodes(fleet, over)
    return Supervised(learn, predictor.eval(), byte_margins(check, recipe.byte_coverage))


def first_frames(profile: Path, bundle: Bundle, replay: Replay) -> NDArray[np.float32]:
    """(segments, 180, 320): luma of every segment's first frame around 0, at a quarter of its size."""
    origin, frames = SizesOrigin.of(bundle), []
    for clip, time in zip(replay.clips, replay.times, strict=True):
        luma = read_sizes(sizes_path(profile, str(TIMINGS[0]), str(clip), int(time)), origin).luma[0]
        frames.append(luma.reshape(INPUT_SIZE[0], 2, INPUT_SIZE[1], 2).mean((1, 3)) / 128 - 1)
    return np.array(frames, np.float32)


def predict_from_first_frames(
    learn: Replay, frames: NDArray[np.float32], judged: NDArray[np.float32], epochs: int, seed: int
) -> Floats:
    """(segments, configurations) accuracies of `judged` frames, by a network that learnt from `frames`, which
    are those of `learn`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FirstFrameNetwork(len(learn.ladder))
    wanted, rng = torch.from_numpy(learn.known.miou).float(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), FRAME_RATE, weight_decay=1e-3)
    network.train()
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(frames)), max(1, len(frames) // FRAME_BATCH)):
            shown = torch.from_numpy(frames[batch])[:, None]
            shown = shown.flip(3) if rng.random() < 0.5 else shown
            descend(optimizer, ((network(shown).sigmoid() - wanted[batch]) ** 2).mean())
    network.eval()
    with torch.inference_mode():
        found = [network(torch.from_numpy(frame)[None, None]).sigmoid()[0] for frame in judged]
    return torch.stack(found).double().numpy()
