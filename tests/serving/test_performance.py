"""The performance encoder: its size, and what sending 16-bit logits costs its embeddings."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from configs.bundle import DEFAULT_BUNDLE, MANIFEST, Bundle, write_manifest
from serving.deployments.encoder import LoadedEncoder
from serving.performance.network import EMBEDDING, INPUT_SIZE, AccuracyHead, encoder_input, make_encoder


def logits(seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    coarse = torch.randn(1, 19, 6, 10) * 4
    return torch.nn.functional.interpolate(coarse, (45, 80), mode="bilinear")


WITHOUT = {"encoder": None, "accuracy_head": None, "policy": None}


def with_encoder(folder: Path, fields: dict[str, Any]) -> Path:
    """The bundle that ships with these fields of its manifest; another encoder and head lie in it, too."""
    bundle = Bundle.load(DEFAULT_BUNDLE)
    directory = folder / "bundle"
    shutil.copytree(bundle.directory, directory)
    (directory / MANIFEST).unlink()
    save_file(make_encoder(19).state_dict(), directory / "other.safetensors")
    save_file(AccuracyHead(len(bundle.ladder)).state_dict(), directory / "head.safetensors")
    write_manifest(directory, bundle.manifest.model_dump(exclude={"id", "checksums", "format"}) | fields)
    return directory


def test_it_is_under_half_a_gigaflop_and_gives_at_most_128_values() -> None:
    encoder = make_encoder(19)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        embedding = encoder(encoder_input(logits()))
    assert embedding.shape == (1, EMBEDDING)
    assert EMBEDDING <= 128
    assert counter.get_total_flops() < 0.5e9


@pytest.mark.parametrize("classes", [2, 11, 40])
def test_any_number_of_classes_gives_an_embedding_of_the_same_length(classes: int) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        embedding = make_encoder(classes)(encoder_input(torch.randn(1, classes, 23, 40)))
    assert embedding.shape == (1, EMBEDDING)
    assert counter.get_total_flops() < 0.5e9


def test_it_sees_a_softmax_of_180_by_320() -> None:
    softmax = encoder_input(logits())
    assert softmax.shape == (1, 19, *INPUT_SIZE)
    torch.testing.assert_close(softmax.sum(1), torch.ones(1, *INPUT_SIZE))


def test_16_bit_logits_change_an_embedding_by_less_than_a_thousandth() -> None:
    encoder = make_encoder(19)
    with torch.no_grad():
        exact = encoder(encoder_input(logits()))
        sent = encoder(encoder_input(logits().to(torch.float16)))
    assert (sent - exact).norm() / exact.norm() < 1e-3


def test_an_untrained_encoder_is_the_same_everywhere() -> None:
    first, second = make_encoder(19).state_dict(), make_encoder(19).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("trained", [True, False])
def test_an_encoder_embeds_logits_and_says_whether_it_was_trained(trained: bool, tmp_path: Path) -> None:
    directory = with_encoder(tmp_path, {}) if trained else with_encoder(tmp_path, WITHOUT)
    encoding = LoadedEncoder(Bundle.load(directory)).embed(logits()[0].to(torch.float16).numpy(), 0)
    assert encoding.bundle == Bundle.load(directory).id
    assert len(encoding.embedding) == EMBEDDING
    assert np.isfinite(encoding.embedding).all()
    assert encoding.trained == trained
    assert (encoding.accuracy is not None) == trained


def test_an_encoder_with_a_head_says_how_accurate_the_segment_was(tmp_path: Path) -> None:
    directory = with_encoder(tmp_path, {"encoder": "other.safetensors", "accuracy_head": "head.safetensors"})
    encoding = LoadedEncoder(Bundle.load(directory)).embed(logits()[0].to(torch.float16).numpy(), 42)
    assert encoding.trained
    assert encoding.accuracy is not None
    lower, middle, upper = encoding.accuracy
    assert 0 <= lower <= middle <= upper <= 1
