"""ACoSP: soft top-k channel masks that harden while the network trains (Ditschuneit & Otterbach 2022;
reference 13 of the paper).

Every channel group that is to lose channels gets one mask with trainable scores. Forward hooks multiply
the output of all convolutions that write the group by it, so the served network needs no mask code, and
the channels of a residual stream live and die together. Hardened, a masked channel is exactly zero
everywhere, which is what makes its removal exact (`rl.vss.removal`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serving.vss.architecture import ChannelPlan
from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet

SCORE_SPREAD = 2.0
"""Standard deviation of the first scores: at temperature 1 the masks then lean towards the channels that
carry most, so a trained network keeps working, while those near the threshold stay undecided."""

SCORE_SPEED = 20.0
"""Adam moves every parameter by about the learning rate a step, far too little for scores of this
spread; they are stored divided by this, which makes them this much faster than weights."""


class ChannelMask(nn.Module):
    """The mask of one channel group: sigmoid((score - threshold) / temperature), `keep` of them high."""

    temperature: Tensor

    def __init__(self, importance: Tensor, keep: int) -> None:
        """importance (channels,), any positive scale; `ValueError` unless 0 < keep < channels."""
        super().__init__()
        if not 0 < keep < len(importance):
            raise ValueError(
                f"keep must leave at least one of {len(importance)} channels to remove, got {keep}"
            )
        self.keep = keep
        logs = importance.clamp_min(1e-12).log()
        scores = (logs - logs.mean()) / logs.std().clamp_min(1e-6) * SCORE_SPREAD
        self.stored_scores = nn.Parameter(scores / SCORE_SPEED)
        self.register_buffer("temperature", torch.tensor(1.0))  # a tensor, so that annealing never recompiles

    def scores(self) -> Tensor:
        """(channels,), centred: what raises one channel lowers all, so channels compete for their places."""
        scores = self.stored_scores * SCORE_SPEED
        return scores - scores.mean()

    def forward(self) -> Tensor:
        """The mask (channels,), between 0 and 1; the threshold lies between the k-th and k+1-th score."""
        scores = self.scores()
        last_kept, first_lost = scores.detach().topk(self.keep + 1).values[-2:]
        return torch.sigmoid((scores - (last_kept + first_lost) / 2) / self.temperature)

    @torch.no_grad()
    def selected(self) -> Tensor:
        """The `keep` channels that survive, as rising indices."""
        return self.stored_scores.topk(self.keep).indices.sort().values

    def hook(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Forward hook of a ConvNorm; a bound method, since `deepcopy` rebinds it to the copied mask."""
        mask: Tensor = self()
        return output * mask[None, :, None, None]


class MaskedNetwork(nn.Module):
    """A PSPNet on its way to fewer channels; same images in, same logits out."""

    def __init__(self, network: PSPNet, keep: ChannelPlan) -> None:
        super().__init__()
        self.network = network
        importance = channel_importance(network)
        self.masks = nn.ModuleDict()
        for group, channels in network.channels.items():
            if keep[group] < channels:
                self.masks[_key(group)] = ChannelMask(importance[group], keep[group])
        for module in network.modules():
            if isinstance(module, ConvNorm) and _key(module.writes) in self.masks:
                mask = self.masks[_key(module.writes)]
                assert isinstance(mask, ChannelMask)
                module.register_forward_hook(mask.hook)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)  # type: ignore[no-any-return]

    def set_temperature(self, temperature: float) -> None:
        for mask in self.masks.values():
            assert isinstance(mask, ChannelMask)
            mask.temperature.fill_(temperature)

    def kept_channels(self) -> dict[str, Tensor]:
        """Rising indices of the surviving channels of every group."""
        kept = {group: torch.arange(channels) for group, channels in self.network.channels.items()}
        for group in kept:
            if _key(group) in self.masks:
                mask = self.masks[_key(group)]
                assert isinstance(mask, ChannelMask)
                kept[group] = mask.selected().cpu()
        return kept


def annealed_temperature(step: int, steps: int, bounds: tuple[float, float]) -> float:
    """Exponential from the first bound at step 0 to the second at the last step."""
    start, end = bounds
    return float(start * (end / start) ** (step / max(1, steps - 1)))


@torch.no_grad()
def channel_importance(network: PSPNet) -> dict[str, Tensor]:
    """How much each channel of each group can carry: size of what batch norm lets out, times the norm of
    the weights that read it, over all writers and readers of the group."""
    written = {group: torch.zeros(channels) for group, channels in network.channels.items()}
    read = {group: torch.zeros(channels) for group, channels in network.channels.items()}
    for module in network.modules():
        if isinstance(module, ConvNorm):
            written[module.writes] += (module.norm.weight**2 + module.norm.bias**2).cpu()
            weights = module.conv.weight.cpu().square()
            if module.depthwise:  # (channels, 1, k, k)
                read[module.writes] += weights.sum(dim=(1, 2, 3))
                continue
            parts = torch.split(weights, [network.channels[group] for group in module.reads], dim=1)
            for group, weight in zip(module.reads, parts, strict=True):  # weight (out, channels, k, k)
                read[group] += weight.sum(dim=(0, 2, 3))
    read[network.last] += network.classifier.weight.cpu().square().sum(dim=(0, 2, 3))
    return {group: (written[group] * read[group]).sqrt() for group in network.channels}


def _key(group: str) -> str:
    """Module names must not hold dots."""
    return group.replace(".", "-")
