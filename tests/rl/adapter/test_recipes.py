"""Recipes that ship: each can be read, and each ablation leaves out what it says and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import configs
from rl.adapter.encoder_recipe import load_encoder_recipe
from rl.adapter.recipe import AdapterRecipe, load_adapter_recipe

FOLDER = Path(configs.__file__).with_name("recipes") / "adapter"
ADAPTERS = sorted(FOLDER.rglob("*.yaml"))
ENCODERS = sorted(FOLDER.with_name("encoder").glob("*.yaml"))


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_a_recipe_learns_in_some_way(path: Path) -> None:
    recipe = load_adapter_recipe(path)
    assert recipe.imitation.steps + recipe.full_information.steps + recipe.ppo.steps > 0


@pytest.mark.parametrize("path", ENCODERS, ids=lambda path: path.stem)
def test_an_encoders_recipe_looks_with_something(path: Path) -> None:
    recipe = load_encoder_recipe(path)
    assert recipe.convolutions or recipe.expectations


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("no-embedding", "architecture"),
        ("no-features", "architecture"),
        ("unmasked", "architecture"),
    ],
)
def test_an_ablation_differs_in_one_part(name: str, part: str) -> None:
    whole = load_adapter_recipe(FOLDER / "adapter.yaml")
    without = load_adapter_recipe(FOLDER / "ablation" / f"{name}.yaml")
    assert differing(whole, without) == {"name", part}


def test_both_readings_of_xi_differ_in_nothing_else() -> None:
    violations = load_adapter_recipe(FOLDER / "self-competition.yaml")
    literal = load_adapter_recipe(FOLDER / "ablation" / "literal.yaml")
    assert differing(violations, literal) == {"name", "xi"}


@pytest.mark.parametrize("name", ["end-to-end", "ablation/gamma-0"])
def test_variants_of_ppo_learn_before_it_as_the_fine_tuned_one_does(name: str) -> None:
    tuned = load_adapter_recipe(FOLDER / "fine-tuned.yaml")
    assert differing(tuned, load_adapter_recipe(FOLDER / f"{name}.yaml")) == {"name", "ppo"}


def differing(first: AdapterRecipe, second: AdapterRecipe) -> set[str]:
    """Fields but the margin, which each finds for itself."""
    fields = set(AdapterRecipe.model_fields) - {"margin"}
    return {field for field in fields if getattr(first, field) != getattr(second, field)}


def test_the_papers_recipe_is_the_papers() -> None:
    ppo = load_adapter_recipe(FOLDER / "paper.yaml").ppo
    assert (ppo.steps, ppo.gamma, ppo.clip, ppo.minibatch, ppo.learning_rate) == (
        2_000_000,
        0.9,
        0.2,
        32,
        1e-4,
    )
