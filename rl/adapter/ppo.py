"""PPO on RLlib's new API stack (paper, 3.4.5): the environment in step, a module of the paper's shape.

Env runners and learners are as many as the recipe says, on this machine or on the cluster that RAY_ADDRESS
names.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import register_env
from torch import Tensor

from clients.state import StateLayout
from configs.ladder import Ladder
from rl.adapter.end_to_end import EncodingActor, Joint
from rl.adapter.environment import AVERAGES, PenanceEnv, PenanceVectorEnv
from rl.adapter.learning import Progress, untold
from rl.adapter.long_lived import LongLived
from rl.adapter.network import ActorNetwork, AdapterArchitecture, PartsNetwork
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.replay import Replay
from rl.cluster import ray_cluster

ENVIRONMENT = "Penance-v0"
Judge = Callable[[ActorNetwork | EncodingActor], dict[str, float]]
CHECKPOINT, START = "checkpoint", "start.pt"
CHECKPOINT_EVERY = 20  # iterations


class AdapterModule(TorchRLModule, ValueFunctionAPI):
    """Actor and critic of the same shape, sharing nothing; the critic also sees the averages. Where an
    encoder learns too, both see its embeddings, and the actor's loss alone moves it."""

    def setup(self) -> None:
        given = cast(dict[str, Any], self.model_config)
        ladder = Ladder.model_validate(given["ladder"])
        layout = StateLayout(ladder.configurations, given["embedding"], given["features"], given["seconds"])
        architecture = AdapterArchitecture.model_validate(given["architecture"])
        actor = ActorNetwork(layout, architecture, len(ladder))
        start = torch.load(given["start"], weights_only=True)
        actor.load_state_dict(start)
        self.actor: ActorNetwork | EncodingActor = actor
        if given["joint"] is not None:
            joint: Joint = ray.get(given["joint"])
            begins = layout.slices["embedding"].start
            self.actor = EncodingActor(actor, copy.deepcopy(joint.encoder), joint.shown, begins)
        self.critic = PartsNetwork(layout, architecture, 1, extra=AVERAGES)
        self.critic.get_buffer("mean")[: layout.width] = start["body.mean"]
        self.critic.get_buffer("deviation")[: layout.width] = start["body.deviation"]

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        return {Columns.ACTION_DIST_INPUTS: self.actor(batch[Columns.OBS])}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        states = batch[Columns.OBS]
        if isinstance(self.actor, EncodingActor):
            with torch.no_grad():
                states = self.actor.encoded(states)
        values: Tensor = self.critic(states)[:, 0]
        return values


def improve(
    actor: ActorNetwork,
    replay: Replay,
    recipe: AdapterRecipe,
    out: Path,
    progress: Progress = untold,
    judge: Judge = lambda actor: {},
    joint: Joint | None = None,
) -> ActorNetwork:
    """The actor after PPO, and in `joint` the encoder that learnt with it. Goes on from the checkpoint in
    `out` where there is one. `judge` gives figures to draw of the policy at each checkpoint; with an encoder
    it is given one that takes states with pointers."""
    out.mkdir(parents=True, exist_ok=True)
    torch.save(actor.state_dict(), out / START)
    with ray_cluster():
        algorithm = _config(replay, recipe, out / START, joint).build_algo()
        try:
            if (out / CHECKPOINT).exists():
                algorithm.restore_from_path(str((out / CHECKPOINT).resolve()))  # type: ignore[no-untyped-call]
            _train(algorithm, recipe, out, progress, judge)
            trained = cast(AdapterModule, algorithm.get_module())
            if isinstance(trained.actor, EncodingActor):
                assert joint is not None
                joint.encoder.load_state_dict(trained.actor.encoder.state_dict())
                actor.load_state_dict(trained.actor.actor.state_dict())
            else:
                actor.load_state_dict(trained.actor.state_dict())
        finally:
            algorithm.stop()  # type: ignore[no-untyped-call]
    return actor.eval()


def _train(algorithm: Algorithm, recipe: AdapterRecipe, out: Path, progress: Progress, judge: Judge) -> None:
    done = 0
    while done < recipe.ppo.steps:
        result = algorithm.train()  # type: ignore[no-untyped-call]
        sampled = result["env_runners"]
        done = int(sampled["num_env_steps_sampled_lifetime"])
        figures = {"reward": float(sampled.get("episode_return_mean", float("nan")))}
        learnt = result["learners"]["default_policy"]
        figures |= {name: float(learnt[name]) for name in ("policy_loss", "vf_loss", "entropy")}
        if algorithm.iteration % CHECKPOINT_EVERY == 0 or done >= recipe.ppo.steps:
            figures |= judge(cast(AdapterModule, algorithm.get_module()).actor)
            _save(algorithm, out)
        progress("PPO", done, figures)


def _save(algorithm: Algorithm, out: Path) -> None:
    """In place of the checkpoint before, once it is written whole."""
    partial = (out / f"{CHECKPOINT}.partial").resolve()
    shutil.rmtree(partial, ignore_errors=True)
    algorithm.save_to_path(str(partial))
    shutil.rmtree(out / CHECKPOINT, ignore_errors=True)
    partial.replace(out / CHECKPOINT)


def _config(replay: Replay, recipe: AdapterRecipe, start: Path, joint: Joint | None) -> PPOConfig:
    run = start.parent.resolve().as_posix()
    shown = replay if joint is None else joint.pointing(replay)
    reference = ray.put(shown)  # workers map its arrays, whichever machine they are on

    def make(context: EnvContext) -> PenanceEnv | PenanceVectorEnv:
        held: Replay = ray.get(reference)
        if "num_envs" in context:
            url = recipe.ppo.redis
            kept = LongLived(url, run, context.worker_index) if url else None
            return PenanceVectorEnv(
                held, context["num_envs"], recipe.xi, failure=recipe.ppo.failure, long_lived=kept
            )
        return PenanceEnv(held, recipe.xi, failure=recipe.ppo.failure)

    register_env(ENVIRONMENT, make)
    ppo = recipe.ppo
    module = RLModuleSpec(
        module_class=AdapterModule,
        model_config={
            "ladder": replay.ladder.model_dump(mode="json"),
            "embedding": replay.embeddings.shape[2],
            "features": replay.features.shape[1],
            "seconds": replay.seconds,
            "architecture": recipe.architecture.model_dump(mode="json"),
            "start": str(start.resolve()),
            "joint": None if joint is None else ray.put(joint),
        },
    )
    config: PPOConfig = (
        PPOConfig()  # type: ignore[no-untyped-call]
        .environment(ENVIRONMENT, disable_env_checking=True)
        .env_runners(
            num_env_runners=ppo.env_runners,
            num_envs_per_env_runner=ppo.cameras,
            gym_env_vectorize_mode="vector_entry_point",
        )
        .learners(num_learners=ppo.learners)
        .training(
            gamma=ppo.gamma,
            lambda_=ppo.gae,
            lr=ppo.learning_rate,
            clip_param=ppo.clip,
            minibatch_size=ppo.minibatch,
            num_epochs=ppo.epochs,
            train_batch_size_per_learner=ppo.batch,
            entropy_coeff=ppo.entropy,
            use_kl_loss=False,
            grad_clip=1.0,
        )
        .rl_module(rl_module_spec=module)
        .fault_tolerance(restart_failed_env_runners=True)
        .debugging(seed=recipe.seed, log_level="ERROR")
    )
    return config
