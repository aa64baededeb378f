"""Files that people write or that the product leaves behind, from the models that read them."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel

from clients.gateway.inventory import Inventory
from configs.ladder import Ladder
from configs.manifest import Manifest
from configs.rates import RateCard
from generate.schemas import model_section, model_text
from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.recipe import AdapterRecipe
from rl.bitrate.recipe import BitrateRecipe
from rl.importing import FamilySpec
from rl.profiles.index import Drives, IndexedClip
from rl.vss.annotations import Annotation
from rl.vss.recipe import FamilyRecipe


class FileFormat(NamedTuple):
    """One kind of file: what it is called, what to know of it, and the model of its content."""

    title: str
    about: str
    model: type[BaseModel]


FORMATS = (
    FileFormat(
        "Inventory of a site",
        "YAML for [`penance-gateway`](../fleet.md); [an example](../../configs/site.yaml). `defaults` may "
        "hold any field of a camera.",
        Inventory,
    ),
    FileFormat("Rate card", "YAML, [`configs/rates.yaml`](../../configs/rates.yaml).", RateCard),
    FileFormat("Ladder", "YAML, [`configs/ladder.yaml`](../../configs/ladder.yaml).", Ladder),
    FileFormat("Bundle", "`bundle.json` of a bundle's folder.", Manifest),
    FileFormat("Family of your own models", "YAML for [`penance-train import`](../bundles.md).", FamilySpec),
    FileFormat(
        "Clip index",
        "`clips.tsv`, as [`penance-profile index`](../profiles.md) writes it: one clip a line, tabs between, "
        "the fields' names in the first line.",
        IndexedClip,
    ),
    FileFormat("Drives", "YAML for `penance-profile index --drives`.", Drives),
    FileFormat("Annotation", "YAML, one file a clip.", Annotation),
    FileFormat("Recipe of a family", "YAML for `penance-train family`.", FamilyRecipe),
    FileFormat("Recipe of a bitrate estimator", "YAML for `penance-train bitrate`.", BitrateRecipe),
    FileFormat("Recipe of a performance encoder", "YAML for `penance-train encoder`.", EncoderRecipe),
    FileFormat("Recipe of a policy", "YAML for `penance-train adapter`.", AdapterRecipe),
)


def formats_page() -> str:
    """One section a file; models that it is made of below it, each where it is first used."""
    text = "# File formats\n\nProfiles and digests: [profiles](../profiles.md#files). "
    text += "Serving options: [there](serving.md).\n\n"
    told: set[str] = set()
    for title, about, model in FORMATS:
        schema = model.model_json_schema()
        parts = schema.get("$defs", {})
        text += f"## {title}\n\n{about} {model_text(schema)}"
        for name, part in parts.items():
            if name not in told:
                text += model_section(name, part, 3)
        told |= {model.__name__, *parts}
    return text
