"""The commands of the adapter, joined to `penance-train` and `penance-evaluate` by `rl.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs.bundle import DEFAULT_BUNDLE
from rl.arguments import (
    EVALUATE,
    TRAIN,
    BundleFolder,
    JsonFile,
    RecipeFile,
    told_in_one_line,
)

OptionalIndex = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="TSV of penance-profile index; a digest has its own"),
]
Stride = Annotated[int, typer.Option(min=1, help="of --clips: accuracy on every k-th frame")]


Profile = Annotated[
    Path, typer.Option(exists=True, help="folder that penance-profile recorded, or its digest")
]
OptionalProfile = Annotated[
    Path | None, typer.Option(exists=True, help="folder that penance-profile recorded, or its digest")
]
EncoderFolder = Annotated[
    Path | None, typer.Option(exists=True, file_okay=False, help="folder that penance-train encoder wrote")
]


def train_encoder(
    profile: Profile,
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of encoder, head and embeddings")],
    index: OptionalIndex = None,
    folds: Annotated[
        int, typer.Option(min=0, help="as in penance-evaluate adapter: one encoder for each group of drives")
    ] = 0,
    bundle: BundleFolder = DEFAULT_BUNDLE,
) -> None:
    """Pre-trains the performance encoder with its accuracy head, and embeds every segment of the profile."""
    from rich.console import Console

    from configs.bundle import Bundle
    from rl.adapter.encoder_recipe import load_encoder_recipe
    from rl.adapter.recorded import Recorded
    from rl.adapter.training import train_encoders
    from rl.profiles.index import read_index

    console = Console()
    with told_in_one_line(TRAIN):
        opened = Bundle.load(bundle)
        recorded = Recorded.load(profile, read_index(index) if index else None, opened)
        found = train_encoders(recorded, opened, load_encoder_recipe(recipe), folds, out, console)
    for errors in found:
        console.print(
            f"mIoU of {errors.segments} segments of other drives, mean errors: head {errors.head:.3f}, "
            f"max-softmax confidence {errors.confidence:.3f}, segment before {errors.carried:.3f}; "
            f"{errors.covered:.1%} lie within their intervals"
        )
    console.print(f"encoder, head and embeddings lie in {out}")


def train_policy(
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of checkpoints, curves and the policy")],
    profile: OptionalProfile = None,
    index: OptionalIndex = None,
    recipe: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="YAML file of the recipe")
    ] = None,
    encoder: EncoderFolder = None,
    from_live: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="lines of GET /v1/transitions; goes on from --policy"),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="of --from-live: the folder of what cameras ran"),
    ] = None,
    failure: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="of --from-live: share that may be below target")
    ] = 0.04,
    bundle: BundleFolder = DEFAULT_BUNDLE,
) -> None:
    """Learns a policy from a profile's drives for train and val, with the recipe's margin; or goes on with a
    trained one from what live cameras chose."""
    from rich.console import Console

    from configs.bundle import Bundle
    from rl.adapter.recipe import load_adapter_recipe
    from rl.adapter.recorded import Recorded
    from rl.adapter.training import train_adapter, train_from_live
    from rl.profiles.index import read_index

    console = Console()
    if from_live is not None:
        if policy is None or profile or index or recipe or encoder:
            raise typer.BadParameter("--from-live takes --policy, and neither profile nor recipe")
        with told_in_one_line(TRAIN):
            fit = train_from_live(from_live, policy, Bundle.load(bundle), out, failure, console)
        console.print(
            f"{fit.segments} segments, {fit.audits} audited, {fit.explored:.0%} explored; accuracies of "
            f"others are told with a mean error of {fit.error:.3f}\n"
            f"expected to fail: {fit.failure_before:.1%} before, {fit.failure_after:.1%} now; cost "
            f"{fit.cost_before:.3f} before, {fit.cost_after:.3f} now; the policy lies in {out}"
        )
        return
    if profile is None or recipe is None:
        raise typer.BadParameter("give --profile and --recipe, or --from-live and --policy")
    with told_in_one_line(TRAIN):
        opened = Bundle.load(bundle)
        recorded = Recorded.load(profile, read_index(index) if index else None, opened)
        about = train_adapter(recorded, opened, load_adapter_recipe(recipe), encoder, out, console)
    console.print(f"{about.recipe} lies in {out}; its margin on the target is {about.margin:+.3f}")


def add_adapter(
    policy: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="folder that penance-train adapter wrote")
    ],
    encoder: EncoderFolder = None,
    bundle: BundleFolder = DEFAULT_BUNDLE,
) -> None:
    """Puts a policy and its encoder into a bundle and seals it again; its family stays what it was."""
    from rl.adapter.export import add_policy

    with told_in_one_line(TRAIN):
        manifest = add_policy(policy, encoder, bundle)
    typer.echo(f"bundle {manifest.id} in {bundle} has a policy; cameras take it with --policy adapter")


def evaluate_adapter(
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of the report, index.html")],
    profile: OptionalProfile = None,
    clips: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="any folder of videos, whose profile goes to OUT"),
    ] = None,
    index: OptionalIndex = None,
    recipe: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="YAML of an adapter to learn; several may be given"),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="folder that penance-train encoder wrote with the same --folds"
        ),
    ] = None,
    lag: Annotated[int, typer.Option(min=1, max=8, help="segments until an answer is there")] = 1,
    policy: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="folder that penance-train adapter wrote"),
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="compare only these methods")] = None,
    folds: Annotated[
        int, typer.Option(min=0, help="groups of whole drives to leave out; 0: the index's test drives")
    ] = 8,
    frame_stride: Stride = 5,
    bundle: BundleFolder = DEFAULT_BUNDLE,
    json: JsonFile = None,
) -> None:
    """Fig. 14 and 15: every method on drives that it never saw, with the whole trade-off of each."""
    from rich.console import Console

    from configs.bundle import Bundle
    from rl.adapter.commands import evaluate_adapters, record_clips
    from rl.adapter.recipe import load_adapter_recipe
    from rl.adapter.recorded import Recorded
    from rl.adapter.report import headline_table, write_report
    from rl.profiles.index import read_index

    console = Console()
    if (profile is None) == (clips is None):
        raise typer.BadParameter("give --profile or --clips")
    with told_in_one_line(EVALUATE):
        known = read_index(index) if index else None
        if clips is not None:
            profile, known = record_clips(clips, bundle, frame_stride, out / "profile", console)
        assert profile is not None
        opened = Bundle.load(bundle)
        report = evaluate_adapters(
            Recorded.load(profile, known, opened),
            opened,
            [load_adapter_recipe(path) for path in recipe or []],
            policy or [],
            method or [],
            encoder,
            folds,
            lag,
            console,
        )
        page = write_report(report, out)
    console.print(headline_table(report))
    console.print(f"the report: {page}")
    if json is not None:
        json.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
