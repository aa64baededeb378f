"""Classes that a network is nowhere sure of in a frame are not in it.

On streets that it has never seen, a network strews a few classes over pixels where several are about equally
likely. Which of them wins there is chance: another network, or the same one on the same frame a little more
compressed, decides otherwise, and a promise about the mean over classes hangs on it. Small things are not the
trouble: a far pedestrian whom the network is sure of stays.
"""

from __future__ import annotations

from torch import Tensor

SURE_SHARE = 0.25
"""Share of a class's pixels that have to be certain."""
BEHIND = 20.0
"""Logits that an absent class is set back by, so that its probability vanishes."""


def without_doubtful(logits: Tensor, certainty: float) -> Tensor:
    """Logits (N, classes, H, W) in which only classes compete of whose pixels, those where the class is the
    likeliest, at least `SURE_SHARE` have a probability of `certainty` or more. An image without any such
    class stays as it is, and so does every image where `certainty` is 0. Made of what every runtime can
    trace."""
    if not certainty:
        return logits
    probabilities = logits.softmax(1)
    best = probabilities.amax(1, keepdim=True)
    won = (probabilities == best).to(logits.dtype)
    pixels = won.sum((2, 3), keepdim=True)  # (N, classes, 1, 1)
    sure = (won * (best >= certainty).to(logits.dtype)).sum((2, 3), keepdim=True)
    present = ((sure >= SURE_SHARE * pixels) & (pixels > 0)).to(logits.dtype)
    return logits - BEHIND * (present.amax(1, keepdim=True) - present)
