"""The anchor of an estimator: bytes as a linear function of energies, all in logarithms.

Fitted in closed form, so it needs no training and few drives. Segments of one drive are alike: each drive has
an offset of its own in the model (as much variance as all else), so that a long drive does not count for as
many as it has segments. The network then learns what the anchor leaves. That must be what it leaves on drives
that it was not fitted to, so what the network is taught with comes from anchors fitted to other drives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from clients.calibration import Floats
from rl.bitrate.data import SizedSegments, grouped_folds
from rl.bitrate.energies import Energies

FOLDS = 8
LEAST_DEVIATION = 0.05
"""Of an energy's logarithms. One that never changes where it was learnt (video that always fills the input)
says nothing elsewhere, however far it is from that there."""


@dataclass(frozen=True)
class Anchor:
    """Energies (..., energies) to outputs (..., settings): `energies @ weight + bias`."""

    weight: Floats  # (energies, settings)
    bias: Floats  # (settings,)

    def __call__(self, energies: Floats) -> Floats:
        return np.asarray(energies @ self.weight + self.bias)


@torch.inference_mode()
def energies_of(data: SizedSegments) -> Floats:
    """(segments, energies)."""
    measure = Energies()
    rows = [measure(data.picture(index)) for index in range(len(data))]
    return np.asarray(torch.cat(rows).double().numpy())


def fit_anchor(energies: Floats, wanted: Floats, drives: Sequence[str], ridge: float) -> Anchor:
    """Least squares with a penalty on the weights of energies in units of their deviations.

    wanted: (segments, settings) outputs. ridge: the penalty, as a share of the segments' own weight.
    """
    mean, scale = energies.mean(0), np.maximum(energies.std(0), LEAST_DEVIATION)
    inputs = np.concatenate([np.ones((len(energies), 1)), (energies - mean) / scale], 1)
    precise = np.eye(len(energies))
    for drive in np.unique(drives):
        own = np.array(drives) == drive
        precise[np.ix_(own, own)] -= 1 / (1 + own.sum())  # inverse of 1 + what a drive shares
    penalty = ridge * np.trace(precise) * np.eye(inputs.shape[1])
    penalty[0, 0] = 1e-6
    solved = np.linalg.solve(inputs.T @ precise @ inputs + penalty, inputs.T @ precise @ wanted)
    weight = solved[1:] / scale[:, None]
    return Anchor(weight, solved[0] - mean @ weight)


def outside_outputs(energies: Floats, wanted: Floats, drives: Sequence[str], ridge: float) -> Floats:
    """(segments, settings) what anchors say of drives that they were not fitted to; of a single drive, what
    its own says."""
    names = np.array(drives)
    count = len(np.unique(names))
    if count == 1:
        return fit_anchor(energies, wanted, drives, ridge)(energies)
    outputs = np.empty_like(wanted)
    for fold in grouped_folds(drives, min(FOLDS, count)):
        own = np.isin(names, fold)
        others = fit_anchor(energies[~own], wanted[~own], names[~own].tolist(), ridge)
        outputs[own] = others(energies[own])
    return outputs
