"""Bundles for tests: the one that ships with something changed, and one whose networks are broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from configs.bundle import DEFAULT_BUNDLE, MANIFEST, Bundle, write_manifest


def changed_bundle(directory: Path, name: str, **changes: Any) -> Bundle:
    """The bundle that ships under another name: its own id, the same networks."""
    shutil.copytree(DEFAULT_BUNDLE, directory)
    return _sealed(directory, name, **changes)


def broken_bundle(directory: Path, name: str = "broken") -> Bundle:
    """One whose weights are shuffled within each tensor: it loads, runs and answers, all of it nonsense."""
    shutil.copytree(DEFAULT_BUNDLE, directory)
    random = np.random.default_rng(0)
    for variant in Bundle.load().manifest.variants:
        path = directory / variant.weights
        tensors = load_file(path)
        for tensor in tensors.values():
            random.shuffle(tensor.reshape(-1))
        save_file(tensors, path)
    return _sealed(directory, name)


def _sealed(directory: Path, name: str, **changes: Any) -> Bundle:
    (directory / MANIFEST).unlink()
    fields = Bundle.load().manifest.model_dump(exclude={"id", "checksums", "format"})
    write_manifest(directory, fields | {"name": name} | changes)
    return Bundle.load(directory)
