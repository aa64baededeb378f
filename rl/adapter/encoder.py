"""Training the performance encoder (paper, 3.3): from the softmax of one configuration to the mIoU of all.

The paper trains it end to end with the adapter, one full-size softmax a step. Here it first learns what a
profile knows anyway: which accuracy every configuration had on the segment whose last frame it sees. The
adapter then learns on embeddings that are computed once. An encoder without convolutions learns from
expectations that are computed once, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.replay import Replay
from rl.adapter.shown import Rows, Shown, floats
from serving.performance.network import EMBEDDING, AccuracyHead, PerformanceEncoder, make_encoder

Progress = Callable[[int, float], None]
"""Told of the step and the loss."""


class AllAccuracies(nn.Module):
    """What the encoder is pre-trained through: embeddings (N, 120), and what made them (N,), to the logits
    of the mIoU of all configurations."""

    def __init__(self, configurations: int, hidden: int = 128) -> None:
        super().__init__()
        self.made_by = nn.Embedding(configurations, hidden)
        self.hidden = nn.Linear(EMBEDDING, hidden)
        self.out = nn.Linear(hidden, configurations)

    def forward(self, embedding: Tensor, configuration: Tensor) -> Tensor:
        result: Tensor = self.out(torch.relu(self.hidden(embedding) + self.made_by(configuration)))
        return result


def train_encoder(
    shown: Shown,
    replay: Replay,
    learn: Rows,
    recipe: EncoderRecipe,
    progress: Progress = lambda step, loss: None,
) -> PerformanceEncoder:
    """An encoder that learnt from the rows `learn`; squared errors of all accuracies, mirrored frames."""
    rng = np.random.default_rng(recipe.seed)
    encoder = make_encoder(shown.classes, recipe.seed, recipe.convolutions, recipe.expectations).train()
    if encoder.expected is not None:
        assert shown.expectations is not None
        encoder.expected.standardise(floats(shown.expectations[learn]).flatten(0, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        head = AllAccuracies(len(replay.ladder))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    wanted = torch.from_numpy(replay.known.miou).float()
    for step in range(recipe.steps):
        rows, made_by = rng.choice(learn, recipe.batch), rng.integers(len(replay.ladder), size=recipe.batch)
        embedding = shown.embedded(encoder, rows, made_by, mirror=bool(rng.random() < 0.5))
        found = head(embedding, torch.from_numpy(made_by)).sigmoid()
        loss = ((found - wanted[rows]) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        progress(step, float(loss.detach()))
    return encoder.eval()


@torch.inference_mode()
def embed_segment(
    encoder: PerformanceEncoder, shown: Shown, row: int, configurations: int
) -> NDArray[np.float32]:
    """(configurations, 120). One at a time: ninety whole softmaxes are 400 MB."""
    each = [shown.embedded(encoder, np.array([row]), np.array([one])) for one in range(configurations)]
    return torch.cat(each).numpy()


def embed_all(
    encoder: PerformanceEncoder,
    shown: Shown,
    segments: int,
    configurations: int,
    path: Path,
    progress: Progress = lambda step, loss: None,
) -> NDArray[np.float16]:
    """(segments, configurations, 120), written to `path` and mapped from there; there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npy")
    shape = (segments, configurations, EMBEDDING)
    found = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    for row in range(len(found)):
        found[row] = embed_segment(encoder, shown, row, configurations)
        progress(row, 0.0)
    found.flush()
    partial.replace(path)
    return np.asarray(np.load(path, mmap_mode="r"))


def train_accuracy_head(replay: Replay, learn: Rows, check: Rows, recipe: EncoderRecipe) -> AccuracyHead:
    """Middle and ends by pinball losses on the rows `learn`; ends widened until they hold on `check`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        head = AccuracyHead(len(replay.ladder))
    rng = np.random.default_rng(recipe.seed)
    optimizer = torch.optim.AdamW(head.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.head_steps)
    tail = (1 - recipe.coverage) / 2
    quantiles = torch.tensor([tail, 0.5, 1 - tail])
    for _ in range(recipe.head_steps):
        rows, made_by = rng.choice(learn, 256), rng.integers(len(replay.ladder), size=256)
        found = head(_embeddings(replay, rows, made_by), torch.from_numpy(made_by))
        over = torch.from_numpy(replay.known.miou[rows, made_by]).float()[:, None] - found
        loss = torch.maximum(quantiles * over, (quantiles - 1) * over).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    predicted, true = predict_accuracies(head, replay, check)
    outside = np.maximum(predicted[..., 0] - true, true - predicted[..., 2]).ravel()
    head.get_buffer("widening").fill_(max(0.0, float(np.quantile(outside, recipe.coverage))))
    return head.eval()


@torch.inference_mode()
def predict_accuracies(
    head: AccuracyHead, replay: Replay, rows: Rows
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows, configurations, 3) predicted and (rows, configurations) true mIoU."""
    every = np.arange(len(replay.ladder))
    predicted = [
        head(_embeddings(replay, np.full(len(every), row), every), torch.from_numpy(every)).double().numpy()
        for row in rows
    ]
    return np.stack(predicted), replay.known.miou[rows]


@dataclass(frozen=True, slots=True)
class AccuracyErrors:
    """Mean absolute errors of the mIoU of segments just served, over all configurations but the reference
    one."""

    segments: int
    head: float
    confidence: float  # a line through max-softmax confidence, fitted to the same drives
    carried: float  # the value of the segment before, where there is one, as if it were known
    covered: float  # share of accuracies within their interval


def accuracy_errors(
    head: AccuracyHead, replay: Replay, shown: Shown, learn: Rows, judged: Rows, seed: int = 0
) -> AccuracyErrors:
    """On the rows `judged`; the line through confidence is fitted to the rows `learn`, one configuration
    each."""
    predicted, true = predict_accuracies(head, replay, judged)
    predicted, true = predicted[:, 1:], true[:, 1:]
    rng, configurations = np.random.default_rng(seed), len(replay.ladder)
    drawn = rng.integers(1, configurations, size=(len(replay),))
    confident = {int(row): shown.confidence(int(row), int(drawn[row])) for row in (*learn, *judged)}
    known = replay.known.miou[np.arange(len(replay)), drawn]
    slope, intercept = np.polyfit([confident[int(row)] for row in learn], known[learn], 1)
    line = np.array([slope * confident[int(row)] + intercept for row in judged])
    begins = set(replay.runs[:, 0].tolist())
    follows = np.array([row for row in judged if row not in begins], np.int64)
    carried = np.abs(replay.known.miou[follows, 1:] - replay.known.miou[follows - 1, 1:])
    return AccuracyErrors(
        segments=len(judged),
        head=float(np.abs(predicted[..., 1] - true).mean()),
        confidence=float(np.abs(line - known[judged]).mean()),
        carried=float(carried.mean()) if len(follows) else float("nan"),
        covered=float(((true >= predicted[..., 0]) & (true <= predicted[..., 2])).mean()),
    )


def _embeddings(replay: Replay, rows: Rows, made_by: Rows) -> Tensor:
    return floats(replay.embeddings[rows, made_by])
