"""From a profile to a trained policy on disk (`penance-train adapter`), and to embeddings (`... encoder`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import save_file
from torch.utils.tensorboard import SummaryWriter

from configs.bundle import Bundle
from rl.adapter.digest import write_digest
from rl.adapter.encoder import (
    AccuracyErrors,
    accuracy_errors,
    embed_all,
    predict_accuracies,
    train_accuracy_head,
    train_encoder,
)
from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.end_to_end import Joint
from rl.adapter.evaluation import PAIRS, unfamiliar_groups
from rl.adapter.familiarity import advantages
from rl.adapter.learning import Progress
from rl.adapter.live import STEPS, LiveFit, learn_from_live
from rl.adapter.logged import live_segments, read_transitions
from rl.adapter.methods import learnt_actor
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.recorded import Recorded
from rl.adapter.replay import Replay, load_replay
from rl.adapter.runs import (
    ADVANTAGE,
    EMBEDDINGS,
    PREDICTED,
    TrainedPolicy,
    fold_folder,
    load_for_bundle,
    save_policy,
    with_embeddings_of,
    write_rows,
)
from rl.adapter.shown import Shown, expectations_of
from rl.adapter.softmaxes import Softmaxes
from rl.profiles.index import ClipIndex, Split
from rl.profiles.progress import segment_progress
from serving.performance.network import PerformanceEncoder, load_encoder

ENCODER, HEAD, FIGURES = "encoder.safetensors", "accuracy-head.safetensors", "figures.json"
DRAW_EVERY = 20  # steps


def train_adapter(
    recorded: Recorded,
    bundle: Bundle,
    recipe: AdapterRecipe,
    encoder: Path | None,
    out: Path,
    console: Console,
) -> TrainedPolicy:
    """Learns from train and val and writes the policy, with the recipe's margin, to `out`; where the encoder
    learns too, also that, as `train_encoders` does. PPO goes on from a checkpoint that is there. Raises
    `ProfileError` and `ValueError`."""
    replay, index = recorded.replay, recorded.known_index
    joint = None
    if recipe.ppo.end_to_end and encoder is not None:
        learning = load_encoder(encoder / ENCODER, len(bundle.manifest.classes))
        form = EncoderRecipe(
            convolutions=learning.convolutions is not None, expectations=learning.expected is not None
        )
        joint = Joint.of(learning, Shown.of(recorded, bundle, form, out, console), replay)
    if encoder is not None:
        replay = with_embeddings_of(replay, encoder, bundle.family)
    learn = replay.of_drives(_drives(index, "train") | _drives(index, "val")).to_learn_from()
    if recipe.extra_encode:
        learn = learn.with_extra_encode()
    with adapter_progress(console, recipe, out) as progress:
        actor, margin = learnt_actor(learn, None, recipe, PAIRS, out, progress, joint)
    if joint is not None:
        np.save(out / ADVANTAGE, replay.advantage)
        check, judged = (np.isin(replay.drives, sorted(_drives(index, split))) for split in ("val", "test"))
        _write_encoder(joint.encoder, joint.shown, replay, check, judged, form, bundle.family, out, console)
        encoder = out
    about = TrainedPolicy(
        recipe=recipe.name,
        family=bundle.family,
        architecture=recipe.architecture,
        embedding=learn.embeddings.shape[2],
        features=learn.features.shape[1],
        seconds=learn.seconds,
        margin=margin,
        encoder=None if encoder is None else str(encoder),
    )
    save_policy(out, actor, about)
    return about


def train_from_live(
    lines: Path, policy: Path, bundle: Bundle, out: Path, failure: float, console: Console
) -> LiveFit:
    """A trained policy that goes on from what its cameras logged, written to `out`. Raises `BundleError`,
    `ProfileError` and `ValueError`."""
    actor, about, layout = load_for_bundle(policy, bundle)
    segments = live_segments(read_transitions(lines), layout, about.margin, bundle.id)
    with segment_progress(console, "steps") as bar:
        task = bar.add_task("live", total=STEPS)
        fit = learn_from_live(
            actor,
            segments,
            layout,
            np.array(bundle.costs),
            failure,
            progress=lambda phase, step, figures: bar.update(task, completed=step + 1),
        )
    save_policy(out, actor, about.model_copy(update={"recipe": f"{about.recipe}, live"}))
    return fit


def train_encoders(
    recorded: Recorded,
    bundle: Bundle,
    recipe: EncoderRecipe,
    folds: int,
    out: Path,
    console: Console,
) -> list[AccuracyErrors]:
    """One encoder that learns from train, widens its intervals on val and is judged on test, written to
    `out`; or, with `folds`, one for each group of drives that `evaluation.drive_folds` leaves out, each in a
    folder of its own. Folders that are complete stay. Raises `ProfileError` and `ValueError`."""
    replay, index = recorded.replay, recorded.known_index
    shown = Shown.of(recorded, bundle, recipe, out, console)
    if folds:
        groups = unfamiliar_groups(replay, folds)
        parts = {
            fold_folder(out, number, folds): (set(groups[(number + 1) % folds]), set(judged))
            for number, judged in enumerate(groups)
        }
    else:
        parts = {out: (_drives(index, "val"), _drives(index, "test"))}
    return [
        _train_encoder(replay, shown, check, judged, recipe, bundle.family, folder, console)
        for folder, (check, judged) in parts.items()
        if not (folder / FIGURES).exists()
    ]


def digest_profile(profile: Path, index: ClipIndex, bundle: Bundle, out: Path, console: Console) -> int:
    """Writes the digest of a profile to `out`; gives the number of segments. Raises `ProfileError`."""
    replay = load_replay(profile, index, bundle)
    softmaxes = Softmaxes(profile, bundle.family, sorted(set(replay.clips)))
    with TemporaryDirectory() as cache:
        expected = expectations_of(softmaxes, replay, Path(cache), console)
    write_digest(out, replay, index, bundle, expected)
    return len(replay)


def _train_encoder(
    replay: Replay,
    shown: Shown,
    check: set[str],
    judged: set[str],
    recipe: EncoderRecipe,
    family: str,
    out: Path,
    console: Console,
) -> AccuracyErrors:
    """Encoder, accuracy head, the embeddings of every segment, and figures, which come last."""
    out.mkdir(parents=True, exist_ok=True)
    of_check, of_judged = (np.isin(replay.drives, sorted(drives)) for drives in (check, judged))
    learn = np.flatnonzero(~of_judged)
    replay = _with_advantage(replay, shown.expectations, learn, out)
    with segment_progress(console, "steps") as bar:
        training = bar.add_task("performance encoder", total=recipe.steps)
        encoder = train_encoder(
            shown,
            replay.to_learn_from(),
            learn,
            recipe,
            lambda step, loss: bar.update(training, completed=step + 1, description=f"loss {loss:.4f}"),
        )
    return _write_encoder(encoder, shown, replay, of_check, of_judged, recipe, family, out, console)


def _write_encoder(
    encoder: PerformanceEncoder,
    shown: Shown,
    true: Replay,
    of_check: NDArray[np.bool_],
    of_judged: NDArray[np.bool_],
    recipe: EncoderRecipe,
    family: str,
    out: Path,
    console: Console,
) -> AccuracyErrors:
    """A trained encoder with the embeddings of all segments, an accuracy head on them, and its figures."""
    replay = true.to_learn_from()
    with segment_progress(console) as bar:
        embedding = bar.add_task("embeddings", total=len(replay))
        found = embed_all(
            encoder,
            shown,
            len(replay),
            len(replay.ladder),
            out / EMBEDDINGS,
            lambda row, loss: bar.update(embedding, completed=row + 1),
        )
    write_rows(out, replay, family)
    replay, true = (part.with_embeddings(found) for part in (replay, true))
    head = train_accuracy_head(
        replay, np.flatnonzero(~of_judged & ~of_check), np.flatnonzero(of_check), recipe
    )
    save_file(encoder.state_dict(), out / ENCODER)
    save_file(head.state_dict(), out / HEAD)
    predicted, _ = predict_accuracies(head, replay, np.arange(len(replay)))
    np.save(out / PREDICTED, predicted[..., 1].astype(np.float16))
    errors = accuracy_errors(head, true, shown, np.flatnonzero(~of_judged), np.flatnonzero(of_judged))
    (out / FIGURES).write_text(json.dumps(asdict(errors), indent=1) + "\n", encoding="utf-8")
    return errors


def _with_advantage(
    replay: Replay, expected: NDArray[np.float16] | None, learn: NDArray[np.int64], out: Path
) -> Replay:
    """With the advantage of familiar drives among those to learn from, which is kept in `out`; none is told
    without expectations."""
    variants = np.array([rung.variant for rung in replay.ladder.configurations])
    found = replay.advantage
    if expected is not None:
        told = expected[learn].astype(np.float64)
        found = advantages(told, replay.known.miou[learn], variants, replay.familiar[learn])
    np.save(out / ADVANTAGE, found)
    return replace(replay, advantage=found)


@contextmanager
def adapter_progress(console: Console, recipe: AdapterRecipe, out: Path) -> Iterator[Progress]:
    """A bar for each phase, and curves for TensorBoard under `out`/curves."""
    totals = {
        "imitation": recipe.imitation.steps,
        "full information": recipe.full_information.steps,
        "PPO": recipe.ppo.steps,
    }
    with segment_progress(console, "steps") as bar, SummaryWriter(str(out / "curves")) as curves:
        tasks = {phase: bar.add_task(phase, total=total) for phase, total in totals.items() if total}

        def advance(phase: str, step: int, figures: dict[str, float]) -> None:
            told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar.update(tasks[phase], completed=step + (phase != "PPO"), description=f"{phase}: {told}")
            if phase == "PPO" or step % DRAW_EVERY == 0:
                for name, value in figures.items():
                    curves.add_scalar(f"{phase}/{name}", value, step)

        yield advance


def _drives(index: ClipIndex, split: Split) -> set[str]:
    return {clip.drive for clip in index.of_split(split)}
