"""A widened network computes what the narrower one computed, whatever the architecture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.vss.widening import widened
from serving.vss.architecture import Architecture
from serving.vss.pspnet import PSPNet
from tests.rl.test_removal import architectures

MORE = st.integers(0, 9)


@settings(max_examples=15)
@given(narrow=architectures(), more=st.tuples(MORE, MORE, MORE), seed=st.integers(0, 2**16))
def test_widening_keeps_what_was_learnt(
    lived_in: Callable[[PSPNet], PSPNet], narrow: Architecture, more: tuple[int, int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    changes = {
        "pyramid": narrow.pyramid + more[0],
        "head": narrow.head + more[1],
        "merges": tuple(width + more[2] for width in narrow.merges),
    }
    network = lived_in(PSPNet(narrow))
    wider = widened(network, narrow.model_copy(update=changes)).eval()
    image = torch.rand(1, 3, 45, 62)
    with torch.no_grad():
        torch.testing.assert_close(wider(image), network(image), rtol=1e-4, atol=1e-4)
    assert wider.architecture.head == narrow.head + more[1]


def test_a_narrower_recipe_is_refused(tiny: Architecture) -> None:
    with pytest.raises(ValueError, match="at most as wide"):
        widened(PSPNet(tiny), tiny.model_copy(update={"head": 8}))
