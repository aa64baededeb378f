"""Environment steps a second: the environment alone, with the actor beside it, and PPO as recipes run it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from configs.bundle import Bundle, BundleError
from configs.settings import Settings
from load_tests.benchmarks.arguments import write_figures
from load_tests.benchmarks.race import Contestant, print_race, run_race
from load_tests.progress import Ticker, console_for_tables
from rl.adapter.environment import PenanceVectorEnv
from rl.adapter.network import ActorNetwork
from rl.adapter.ppo import improve
from rl.adapter.recipe import AdapterRecipe, load_adapter_recipe
from rl.adapter.recorded import Recorded
from rl.adapter.replay import Replay
from rl.profiles.store import ProfileError

PROFILE = Path("configs/profiles/streets.parquet")
RECIPE = Path("configs/recipes/adapter/paper.yaml")


def ppo(
    profile: Annotated[Path, typer.Option(exists=True, help="a profile's folder or digest")] = PROFILE,
    recipe: Annotated[Path, typer.Option(exists=True, help="whose PPO is run")] = RECIPE,
    batches: Annotated[int, typer.Option(min=1, help="of the recipe's, in each turn")] = 12,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Milliseconds a step of one simulated camera. PPO's include its start, which is a few seconds a turn."""
    console = console_for_tables()
    try:
        replay = Recorded.load(profile, None, Bundle.load(Settings().bundle)).replay
        how = load_adapter_recipe(recipe)
    except (BundleError, ProfileError, ValueError) as error:
        console.print(f"ppo: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    steps = batches * how.ppo.batch
    how = how.model_copy(update={"ppo": how.ppo.model_copy(update={"steps": steps})})
    contestants = [
        Contestant("environment", _stepping(replay, how, steps, acting=False), steps),
        Contestant("environment and actor", _stepping(replay, how, steps, acting=True), steps),
        Contestant("PPO", lambda: _learning(replay, how), steps),
    ]
    with Ticker(console, repeats * len(contestants)) as ticker:
        title = f"{how.name}: {how.ppo.cameras} cameras in step, {how.ppo.env_runners} further env runners"
        race = run_race(title, "step", contestants, 1, repeats, ticker)
    print_race(race, console)
    write_figures([race], json)


def _actor(replay: Replay, recipe: AdapterRecipe) -> ActorNetwork:
    return ActorNetwork(replay.layout, recipe.architecture, len(replay.ladder)).eval()


def _stepping(replay: Replay, recipe: AdapterRecipe, steps: int, acting: bool) -> Callable[[], None]:
    """Random choices, or what the actor finds likeliest."""
    cameras = PenanceVectorEnv(replay, recipe.ppo.cameras, recipe.xi)
    actor, rng = _actor(replay, recipe), np.random.default_rng(0)

    def run() -> None:
        states, _ = cameras.reset(seed=0)
        for _ in range(steps // recipe.ppo.cameras):
            if acting:
                with torch.inference_mode():
                    actions = actor(torch.from_numpy(states)).argmax(1).numpy()
            else:
                actions = rng.integers(len(replay.ladder), size=recipe.ppo.cameras)
            states, *_ = cameras.step(actions)

    return run


def _learning(replay: Replay, recipe: AdapterRecipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        improve(_actor(replay, recipe), replay, recipe, Path(folder))


if __name__ == "__main__":
    typer.run(ppo)
