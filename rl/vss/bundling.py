"""From a finished family to a sealed bundle: weights, model card, costs and checksums in one directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clients.codec import CodecFlags, scaled_size
from configs.bundle import replaced_directory, write_manifest
from configs.ladder import Ladder
from configs.manifest import Manifest, SafetensorsVariant
from rl.processor import describe_processor
from rl.vss.cost import count_flops
from rl.vss.evaluate import FRAME_SIZE, VariantFigures
from rl.vss.family import weights_file
from rl.vss.model_card import CARD, Origin, model_card
from rl.vss.recipe import FamilyRecipe
from rl.vss.sources import Source
from serving.vss.classes import STREET_CLASSES
from serving.vss.pspnet import PSPNet
from serving.vss.weights import save_network


def make_bundle(
    directory: Path,
    recipe: FamilyRecipe,
    ladder: Ladder,
    networks: Sequence[PSPNet],
    figures: Sequence[VariantFigures],
    sources: Sequence[Source],
    origin: Origin,
) -> Manifest:
    """Replaces `directory` by a bundle of these networks; until it is whole the old one stays."""
    with replaced_directory(directory) as partial:
        for number, network in enumerate(networks):
            save_network(network, partial / weights_file(number))
        card = model_card(recipe, figures, sources, describe_processor(), origin)
        (partial / CARD).write_text(card, encoding="utf-8")
        return write_manifest(partial, _fields(recipe, ladder, networks, figures))


def _fields(
    recipe: FamilyRecipe, ladder: Ladder, networks: Sequence[PSPNet], figures: Sequence[VariantFigures]
) -> dict[str, Any]:
    variants = enumerate(zip(networks, figures, strict=True))
    return {
        "name": recipe.name,
        "frame": FRAME_SIZE,
        "ladder": ladder.model_dump(),
        "classes": STREET_CLASSES,
        "codec": CodecFlags().model_dump(),
        "architecture": recipe.architecture.model_dump(),
        "variants": [_variant(number, network, row, recipe, ladder) for number, (network, row) in variants],
        "figures": {"processor": describe_processor(), "variants": [row.model_dump() for row in figures]},
    }


def _variant(
    number: int, network: PSPNet, row: VariantFigures, recipe: FamilyRecipe, ladder: Ladder
) -> SafetensorsVariant:
    sizes = [scaled_size(*FRAME_SIZE, scale) for scale in ladder.scales]
    return SafetensorsVariant(
        name=row.name,
        sparsity=row.sparsity,
        weights=weights_file(number),
        channels=network.channels,
        certainty=recipe.certainty_of(number),
        parameters=row.parameters,
        flops=tuple(count_flops(network.architecture, network.channels, size) for size in sizes),
    )
