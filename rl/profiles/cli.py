"""`penance-profile`: clips, their drives, and what every configuration makes of every segment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs.bundle import DEFAULT_BUNDLE
from rl.arguments import BundleFolder, Data, IndexFile, ProfileFolder, Timing, told_in_one_line

profile = typer.Typer(no_args_is_help=True, help="Records what every configuration makes of every segment.")
PROGRAM = "penance-profile"
OutFile = Annotated[Path, typer.Option(dir_okay=False, help="TSV to write")]


@profile.command("index")
def index_videos(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="folder of videos")],
    out: OutFile,
    drives: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="YAML that says which clips are one drive"),
    ] = None,
) -> None:
    """Lists a folder's videos with drive, split, native size and rate, for people to check and edit."""
    from rl.profiles.index import DRIVES_FILE, index_folder, load_drives, write_index

    with told_in_one_line(PROGRAM):
        found = index_folder(folder, load_drives(drives or DRIVES_FILE), typer.echo)
        write_index(out, found)
    typer.echo(
        f"{len(found.clips)} clips of {len({c.drive for c in found.clips})} drives are listed in {out}"
    )


@profile.command("bdd100k")
def select_bdd100k(
    root: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="BDD100K's folder")],
    out: OutFile,
    train: Annotated[int, typer.Option(min=1, help="videos to train on")] = 300,
    val: Annotated[int, typer.Option(min=0, help="videos for margins, out of the train folder")] = 30,
    test: Annotated[int, typer.Option(min=1, help="videos to test on")] = 60,
    measure: Annotated[int, typer.Option(min=0, help="videos for the measurements")] = 20,
    seed: int = 0,
) -> None:
    """The paper's selection of BDD100K's videos in their official layout, as an index."""
    from rl.profiles.bdd100k import select_videos
    from rl.profiles.index import write_index

    with told_in_one_line(PROGRAM):
        found = select_videos(root, train, val, test, measure, seed, typer.echo)
        write_index(out, found)
    typer.echo(f"{len(found.clips)} videos are listed in {out}")


@profile.command("scenes")
def generate_scenes(
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of videos, labels and clips.tsv")],
    drives: Annotated[int, typer.Option(min=1, help="streets, each with weather and camera of its own")] = 20,
    seconds: Annotated[float, typer.Option(min=1, help="of each drive")] = 10.0,
    fps: Annotated[float, typer.Option(min=1, max=60)] = 30.0,
    labels_every: Annotated[int, typer.Option(min=0, help="label every k-th frame; 0: none")] = 15,
    seed: int = 0,
) -> None:
    """Generates labelled street scenes that compress as real footage does."""
    from rich.console import Console

    from rl.scenes.writing import write_scenes

    with told_in_one_line(PROGRAM):
        write_scenes(out, drives, seconds, fps, labels_every, seed, Console())


@profile.command("camvid")
def write_labelled_camvid(
    data: Data,
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of the clip, its labels and clips.tsv")],
) -> None:
    """Makes CamVid's validation run a clip whose every frame has a true label."""
    from rl.profiles.camvid import write_camvid

    with told_in_one_line(PROGRAM):
        found = write_camvid(data, out)
    typer.echo(f"{found.clips[0].file} is listed in {out / 'clips.tsv'}, its labels lie in {out / 'labels'}")


@profile.command("digest")
def write_profile_digest(
    profile: ProfileFolder,
    index: IndexFile,
    out: Annotated[Path, typer.Option(dir_okay=False, help="file to write; a few megabytes")],
    bundle: BundleFolder = DEFAULT_BUNDLE,
) -> None:
    """What policies learn from, in one file without any picture; takes the place of the folder in
    penance-train and penance-evaluate."""
    from rich.console import Console

    from configs.bundle import Bundle
    from rl.adapter.training import digest_profile
    from rl.profiles.index import read_index

    with told_in_one_line(PROGRAM):
        segments = digest_profile(profile, read_index(index), Bundle.load(bundle), out, Console())
    typer.echo(f"{segments} segments lie in {out}: {out.stat().st_size / 1e6:.1f} MB")


@profile.command("record")
def record_profile(
    index: IndexFile,
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of the profile; what is there stays")],
    bundle: BundleFolder = DEFAULT_BUNDLE,
    timing: Timing = "1s-15fps",
    frame_stride: Annotated[int, typer.Option(min=1, help="accuracy on every k-th frame of a segment")] = 1,
    sizes_only: Annotated[bool, typer.Option(help="bytes, motion and luma alone; no network runs")] = False,
    segments: Annotated[int | None, typer.Option(min=1, help="at most this many of each clip")] = None,
    labels: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="true labels: CLIP_MILLISECONDS.png")
    ] = None,
    gpus: Annotated[bool, typer.Option(help="run networks on the cluster's GPUs")] = False,
) -> None:
    """Runs every configuration on every segment; a killed run goes on where it was."""
    from rich.console import Console

    from configs.timing import SegmentTiming
    from rl.profiles.index import read_index
    from rl.profiles.recording import Recording, record

    console = Console()
    with told_in_one_line(PROGRAM):
        recording = Recording(
            bundle.resolve(),
            out.resolve(),
            SegmentTiming.parse(timing),
            frame_stride,
            not sizes_only,
            labels and labels.resolve(),
            gpus,
        )
        recorded, total = record(recording, read_index(index), segments, console)
    console.print(f"{recorded} segments recorded; {out} holds {total} for {timing}")
