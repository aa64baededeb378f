"""A trained policy and encoder on their way into a bundle: ONNX for cameras, safetensors for the server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from configs.bundle import MANIFEST, Bundle, BundleError, replaced_directory, write_manifest
from configs.manifest import Manifest, PolicyEntry
from configs.timing import TIMINGS
from rl.adapter.network import ActorNetwork
from rl.adapter.runs import load_for_bundle
from rl.adapter.training import ENCODER, HEAD
from rl.onnx_export import save_onnx

MODEL = "policy.onnx"
TOLERANCE = 1e-4


def export_policy(actor: ActorNetwork, width: int, path: Path) -> float:
    """Writes `state` (1, width) to `logits` (1, configurations); gives the largest difference between ONNX
    Runtime and torch on noise. Raises `RuntimeError` where that is over 1e-4."""
    noise = np.random.default_rng(0).standard_normal((1, width)).astype(np.float32)
    found, expected = save_onnx(actor, noise, "state", ["logits"], path)
    difference = float(np.abs(found - expected).max())
    if difference > TOLERANCE:
        raise RuntimeError(f"ONNX and torch differ by {difference:.1e}, allowed are {TOLERANCE}")
    return difference


def add_policy(policy: Path, encoder: Path | None, directory: Path) -> Manifest:
    """Puts a policy, and the encoder whose embeddings it learnt from, into a bundle and seals it again; its
    family stays what it was.

    Raises `BundleError` where they were not made for this bundle, or where it has no bitrate estimator,
    without which no camera knows the state.
    """
    bundle = Bundle.load(directory)
    actor, about, layout = load_for_bundle(policy, bundle)
    if not about.features or bundle.manifest.estimator(TIMINGS[0]) is None:
        raise BundleError(
            f"a camera needs a bitrate estimator: put one for {TIMINGS[0]} into the bundle with "
            "penance-train add-bitrate, then train the policy again"
        )
    if about.embedding and encoder is None:
        raise BundleError(f"{policy} learnt from the embeddings of {about.encoder}: give that encoder")
    entry = PolicyEntry(
        timing=TIMINGS[0],
        model=MODEL,
        embedding=about.embedding,
        margin=about.margin,
        recipe=about.recipe,
    )
    with replaced_directory(directory) as partial:
        shutil.copytree(directory, partial, dirs_exist_ok=True)
        (partial / MANIFEST).unlink()
        export_policy(actor, layout.width, partial / MODEL)
        fields: dict[str, Any] = bundle.manifest.model_dump(exclude={"id", "checksums", "format"})
        fields["policy"] = entry.model_dump()
        if encoder is not None:
            for name in (ENCODER, HEAD):
                shutil.copyfile(encoder / name, partial / name)
            fields |= {"encoder": ENCODER, "accuracy_head": HEAD}
        return write_manifest(partial, fields)
