"""An estimator as files: ONNX for cameras, its calibration, and their way into a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clients.calibration import Calibration, load_calibration
from clients.luma import INPUT_SIZE
from configs.bundle import MANIFEST, Bundle, BundleError, replaced_directory, write_manifest
from configs.manifest import EstimatorEntry, Manifest
from rl.bitrate.network import EstimatorNetwork, bytes_of
from rl.bitrate.recipe import BitrateRecipe
from rl.bitrate.runtime import CameraEstimator
from rl.onnx_export import save_onnx
from rl.profiles.store import SizesOrigin

MODEL, CALIBRATION = "estimator.onnx", "calibration.json"
TOLERANCE = 1e-4


def export_onnx(network: EstimatorNetwork, recipe: BitrateRecipe, places: int, path: Path) -> float:
    """Writes `luma` (1, places, 360, 640) uint8 to `bytes` (1, settings) and `features` (1, hidden).

    Gives the largest relative difference between ONNX Runtime's bytes and those of the network as it was
    trained, on noise.

    Raises `RuntimeError` where that is over 1e-4.
    """
    noise = np.random.default_rng(0).integers(0, 256, (1, places, *INPUT_SIZE), dtype=np.uint8)
    module = CameraEstimator(network, recipe)
    found, _ = save_onnx(module, noise, "luma", ["bytes", "features"], path)
    with torch.inference_mode():
        expected = bytes_of(network.eval()(torch.from_numpy(noise))[0], recipe).numpy()
    difference = float((np.abs(found - expected) / expected).max())
    if difference > TOLERANCE:
        raise RuntimeError(f"ONNX and torch differ by {difference:.1e} (relative), allowed are {TOLERANCE}")
    return difference


def save_estimator(
    network: EstimatorNetwork, recipe: BitrateRecipe, calibration: Calibration, folder: Path
) -> None:
    """Writes both files of one timing into `folder`/TIMING."""
    target = folder / str(calibration.timing)
    target.mkdir(parents=True, exist_ok=True)
    export_onnx(network, recipe, calibration.timing.frames, target / MODEL)
    (target / CALIBRATION).write_text(calibration.model_dump_json() + "\n", encoding="utf-8")


def add_to_bundle(folder: Path, directory: Path) -> Manifest:
    """Puts every estimator under `folder` into the bundle in `directory`, in place of those of the same
    timing, and seals it again.

    Raises `BundleError` where the bundle compresses otherwise than what an estimator was trained on.
    """
    bundle = Bundle.load(directory)
    found = {path: load_calibration(path) for path in sorted(folder.glob(f"*/{CALIBRATION}"))}
    if not found:
        raise BundleError(f"{folder} holds no estimator: give the folder that penance-train bitrate wrote")
    for path, calibration in found.items():
        made_for = SizesOrigin(codec=calibration.codec, space=calibration.space)
        if made_for != SizesOrigin.of(bundle):
            raise BundleError(
                f"{path} was made for {made_for}, the bundle {bundle.id} has {SizesOrigin.of(bundle)}: "
                "train an estimator for this bundle"
            )
    kept = [
        entry
        for entry in bundle.manifest.estimators
        if entry.timing not in {calibration.timing for calibration in found.values()}
    ]
    with replaced_directory(directory) as partial:
        shutil.copytree(directory, partial, dirs_exist_ok=True)
        (partial / MANIFEST).unlink()
        entries = list(kept)
        for path, calibration in found.items():
            entry = EstimatorEntry(
                timing=calibration.timing,
                model=f"estimator-{calibration.timing}.onnx",
                calibration=f"estimator-{calibration.timing}.json",
            )
            shutil.copyfile(path.with_name(MODEL), partial / entry.model)
            shutil.copyfile(path, partial / entry.calibration)
            entries.append(entry)
        return write_manifest(partial, _fields(bundle, sorted(entries, key=lambda entry: str(entry.timing))))


def _fields(bundle: Bundle, entries: list[EstimatorEntry]) -> dict[str, Any]:
    fields = bundle.manifest.model_dump(exclude={"id", "checksums", "format"})
    return {**fields, "estimators": [entry.model_dump() for entry in entries]}
