"""The training loop of every segmentation network: variant 0, the annealed masks and the fine-tuning.

Sample crops, one optimiser step, average the weights, checkpoint. A run that was killed goes on from its
last checkpoint.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl.vss.batches import Batch, BatchSource
from rl.vss.datasets import target_sets
from rl.vss.loss import disagreement, distillation, set_cross_entropy, soft_cross_entropy
from rl.vss.recipe import FamilyRecipe, Losses, Schedule
from rl.vss.training_log import TrainingLog
from serving.vss.hardware import choose_hardware

CHECKPOINT_EVERY = 200
VALIDATE_EVERY = 800

Network = TypeVar("Network", bound=nn.Module)


class TrainingState:
    """What a checkpoint holds: the network, the moving average of its weights, the optimiser, the step."""

    def __init__(self, network: nn.Module, schedule: Schedule) -> None:
        self.network, self.schedule, self.step = network, schedule, 0
        self.average = copy.deepcopy(network).requires_grad_(False)
        decayed = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": schedule.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=schedule.learning_rate,
        )

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def descend(self, loss: Tensor) -> None:
        """One optimiser step, after which the average follows."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.schedule, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        _follow(
            self.average, self.network, min(self.schedule.average_decay, (1 + self.step) / (10 + self.step))
        )
        self.step += 1


def save_checkpoint(state: object, checkpoint: Path) -> None:
    """Replaces the checkpoint in one move, so that a kill leaves the old one or the new one."""
    torch.save(state, checkpoint.with_suffix(".tmp"))
    checkpoint.with_suffix(".tmp").replace(checkpoint)


def settle(network: nn.Module, schedule: Schedule, step: int) -> None:
    """Lets batch norms use running statistics from the step on from which the schedule has them settled."""
    settled = step >= (1 - schedule.settled) * schedule.steps
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(not settled)


def ready_to_train(network: nn.Module) -> torch.device:
    """Puts a network into training mode, on a GPU where there is one; returns where it is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.train().requires_grad_(True).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return device


class Objective:
    """The loss of one batch: labels, the soft labels that come with it, and the network's own answer when the
    same crops are smaller.

    Networks run in bfloat16 where the machine multiplies it in hardware; on CPUs as it is, because on two
    cores with AVX512-BF16 that made as many images a second as compiled code in float32 (24), and compiling
    takes minutes. Only the networks are compiled: inside the graph, the loss's gather has an all-zero
    gradient on CPUs. Shapes are static, and each run starts from an empty compiler cache, because all
    networks share the code of one `forward` and the compiler gives up on code that it has compiled too often.
    """

    def __init__(self, network: nn.Module, losses: Losses, weights: Tensor, compiled: bool) -> None:
        """weights (targets,): what each target id weighs."""
        self.device, self.losses = next(network.parameters()).device, losses
        self.weights, self.sets = weights.to(self.device), target_sets().to(self.device)
        self.forward: Callable[[Tensor], Tensor] = network
        self.mixed = has_bfloat16(self.device)
        if compiled and (not self.mixed or self.device.type != "cpu"):
            torch.compiler.reset()
            self.forward = torch.compile(network, dynamic=False)

    def __call__(self, batch: Batch) -> Tensor:
        logits = self.run(batch.images)
        loss = self.labelled(resized(logits, batch.targets.shape[-2:]), batch)
        if batch.scale < 1 and self.losses.consistency:
            smaller = self.run(batch.images, batch.scale)
            loss = loss + self.losses.consistency * self._apart(smaller, logits.detach())
        return loss

    def run(self, images: Tensor, scale: float = 1.0) -> Tensor:
        """Logits of uint8 images (N, H, W, 3) that were brought to `scale` first."""
        pixels = images.to(self.device).permute(0, 3, 1, 2).float().div_(255)  # channels last
        if scale < 1:
            size = [round(side * scale) for side in pixels.shape[-2:]]
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            return self.forward(pixels).float()

    def labelled(self, logits: Tensor, batch: Batch) -> Tensor:
        """Loss towards the labels and the soft labels that came with the images."""
        targets = batch.targets.to(self.device).long()
        loss = set_cross_entropy(logits, targets, self.sets, self.weights)
        return loss + self.towards(logits, batch.soft.to(self.device))

    def towards(self, logits: Tensor, soft: Tensor) -> Tensor:
        """Loss towards class probabilities (N, classes, H, W), of any scale."""
        loss = self.losses.soft * soft_cross_entropy(logits, soft, self.weights[: soft.shape[1]])
        return loss + self.losses.agreement * disagreement(logits, soft)

    def _apart(self, smaller: Tensor, logits: Tensor) -> Tensor:
        """How far the answer to smaller crops is from the answer to these, by pixels and by classes."""
        smaller = resized(smaller, logits.shape[-2:])
        return distillation(smaller, logits) + self.losses.agreement * disagreement(smaller, logits)


def resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (N, classes, *size)."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is emulated and many times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return choose_hardware().dtype == torch.bfloat16


def learning_rate(schedule: Schedule, step: int) -> float:
    warm = min(1.0, (step + 1) / max(1, schedule.warmup))
    return schedule.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / schedule.steps)))


def train(
    network: Network,
    data: BatchSource,
    recipe: FamilyRecipe,
    schedule: Schedule,
    losses: Losses,
    directory: Path,
    *,
    before_step: Callable[[int], None] | None = None,
    validate: Callable[[Network], float] | None = None,
    title: str = "training",
) -> Network:
    """Trains `network` in place, on a GPU where there is one, and returns the averaged copy of it on the CPU;
    resumes from `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    device = ready_to_train(network)
    state, checkpoint = TrainingState(network, schedule), directory / "checkpoint.pt"
    if checkpoint.exists():
        state.load_state_dict(torch.load(checkpoint, map_location=device, weights_only=True))
    average: Network = state.average  # type: ignore[assignment]
    if state.step >= schedule.steps:
        return average.eval().cpu()
    objective = Objective(network, losses, data.weights(losses.rarity), recipe.compile)
    with TrainingLog(directory / "log.jsonl", title, schedule.steps, recipe.batch, state.step) as log:
        steps = range(state.step, schedule.steps)
        batches = data.batches(recipe, steps, beside=objective.device.type != "cpu")
        for step, batch in zip(steps, batches, strict=True):
            if before_step is not None:
                before_step(step)
            settle(network, schedule, step)
            loss = objective(batch)
            state.descend(loss)
            done = state.step == schedule.steps
            validated = validate is not None and (state.step % VALIDATE_EVERY == 0 or done)
            log.record(state.step, loss.item(), validate(average) if validate and validated else None)
            if state.step % CHECKPOINT_EVERY == 0 or done:
                save_checkpoint(state.state_dict(), checkpoint)
    return average.eval().cpu()


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
