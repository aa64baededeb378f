"""What a softmax says of its own accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from serving.miou import frame_miou, overlap
from serving.performance.expectations import expectation_count, expectations
from serving.performance.network import EMBEDDING, encoder_input, load_encoder, make_encoder


def softmax(seed: int, sharpness: float, classes: int = 5, size: tuple[int, int] = (18, 32)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(2, classes, 3, 5, generator=generator) * sharpness
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").softmax(1)


@given(st.integers(0, 1000), st.floats(0.1, 30))
def test_they_are_finite_and_as_many_as_promised_and_the_same_in_a_mirror(
    seed: int, sharpness: float
) -> None:
    shown = softmax(seed, sharpness)
    values = expectations(shown)
    assert values.shape == (2, expectation_count(5))
    assert values.isfinite().all()
    torch.testing.assert_close(expectations(shown.flip(3)), values)


def test_whoever_is_certain_expects_to_be_right() -> None:
    values = expectations(softmax(0, 1e4, size=(180, 320)))
    assert (values[:, 0] > 0.98).all()
    assert (expectations(softmax(0, 0.5))[:, 0] < 0.5).all()


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
def test_the_expected_miou_is_what_comes_out_where_probabilities_are_true(sharpness: float) -> None:
    """The truth is drawn from the softmax itself, pixel by pixel."""
    shown = softmax(3, sharpness, size=(90, 160))[:1]
    prediction = shown.argmax(1)[0].to(torch.uint8).numpy()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(shown[0].flatten(1).T, 1, generator=generator)[:, 0]
    truth = drawn.view(90, 160).to(torch.uint8).numpy()
    found = float(frame_miou(overlap(truth, prediction, 5)))
    assert float(expectations(shown)[0, 1]) == pytest.approx(found, abs=0.03)


@pytest.mark.parametrize(("convolutions", "own"), [(True, False), (False, True), (True, True)])
def test_weights_say_which_form_an_encoder_has(convolutions: bool, own: bool, tmp_path: Path) -> None:
    encoder = make_encoder(19, seed=1, convolutions=convolutions, expectations=own)
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    loaded = load_encoder(tmp_path / "encoder.safetensors", 19)
    shown = encoder_input(torch.randn(1, 19, 23, 40))
    with torch.inference_mode():
        embedding = encoder(shown)
        torch.testing.assert_close(loaded(shown), embedding)
    assert embedding.shape == (1, EMBEDDING)


def test_an_encoder_needs_something_to_look_at_with() -> None:
    with pytest.raises(ValueError, match="convolutions, expectations or both"):
        make_encoder(19, convolutions=False)
