"""The report on a family: what `penance-evaluate family --json` writes, and how it follows from a profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from rl.profiles.choice import BANDWIDTHS, TARGET, Adaptation, Known, adaptation, shares
from rl.profiles.clips import Clip
from rl.profiles.outcomes import Profile
from rl.profiles.pseudo_labels import LabelCounts, all_clips, label_iou
from rl.vss.evaluate import VariantFigures, mean_iou
from serving.miou import LEAST_SHARE, Floats, class_iou

LEAST_SHARES = (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01)
"""Shares of pixels at which the report says how the choice of one moves the figures."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class Rung(_Row):
    """One configuration: mean agreement with the reference prediction over segments, mean bytes."""

    scale: float
    qp: int
    variant: int
    agreement: float
    bytes: float
    cost: float


class ClipRow(_Row):
    name: str
    native_size: tuple[int, int]  # (width, height)
    native_fps: float | None
    size: tuple[int, int]  # at scale 1.0
    fps: float
    segments: int
    agreement: tuple[float, ...]  # of every configuration
    pseudo_labels: tuple[float, ...] | None = None  # mIoU of every variant on uncompressed frames


class ClassRow(_Row):
    name: str
    share: float  # of the reference's pixels
    agreement: tuple[float | None, ...]  # IoU of every configuration over all pixels; None: in neither map
    pseudo_labels: tuple[float | None, ...] | None = None  # IoU of every variant


class Optimal(_Row):
    """What Optimal does, over all bandwidths."""

    configurations: int  # distinct ones that it uses
    largest_share: float  # of the one that it uses most
    most_used: int
    cost: float
    failure: float


class BandwidthRow(_Row):
    bandwidth: float
    cost: float
    failure: float
    binds: float
    binds_cost: float
    static: int
    static_failure: float


class ShareRow(_Row):
    """What another least share of pixels would make of the figures."""

    least_share: float
    agreement: float  # mean over segments and configurations
    changed_sides: float  # share of (segment, configuration) that cross the target
    segments_changed: float  # share of segments for which Optimal's cost changes at the middle bandwidth


class FamilyReport(_Row):
    """Everything; without clips, what needs them is None."""

    bundle: str
    processor: str
    variants: tuple[VariantFigures, ...]
    camvid_miou: tuple[float | None, ...]
    gflops_720p: tuple[float, ...]
    ms_frame: tuple[float, ...]
    target: float = TARGET
    ladder: tuple[Rung, ...] | None = None
    optimal: Optimal | None = None
    best_static_failure: float | None = None  # mean over bandwidths
    bandwidths: tuple[BandwidthRow, ...] | None = None
    clips: tuple[ClipRow, ...] | None = None
    classes: tuple[ClassRow, ...] | None = None
    least_shares: tuple[ShareRow, ...] | None = None


def variants_report(
    bundle: str, processor: str, variants: Sequence[VariantFigures], labels: LabelCounts
) -> FamilyReport:
    """The report without any clips."""
    if labels:
        totals = all_clips(labels)
        variants = [
            row.model_copy(update={"streets_miou": round(mean_iou(counts), 4)})
            for row, counts in zip(variants, totals, strict=True)
        ]
    return FamilyReport(
        bundle=bundle,
        processor=processor,
        variants=tuple(variants),
        camvid_miou=tuple(row.camvid_miou for row in variants),
        gflops_720p=tuple(row.gflops for row in variants),
        ms_frame=tuple(row.milliseconds for row in variants),
    )


def with_profile(
    report: FamilyReport, profile: Profile, clips: Sequence[Clip], labels: LabelCounts
) -> FamilyReport:
    """Adds everything that a profile of these clips says."""
    measured = {segment.clip for segment in profile.segments}
    known = _known(profile)
    adaptations = [adaptation(known, report.target, bandwidth) for bandwidth in BANDWIDTHS]
    return report.model_copy(
        update={
            "ladder": _rungs(profile, known),
            "optimal": _optimal(adaptations, len(profile.costs)),
            "best_static_failure": float(np.mean([row.static_failure for row in adaptations])),
            "bandwidths": tuple(
                BandwidthRow.model_validate(row, from_attributes=True) for row in adaptations
            ),
            "clips": tuple(_clip_row(profile, clip, labels) for clip in clips if clip.name in measured),
            "classes": _class_rows(profile, labels),
            "least_shares": _share_rows(profile, report.target),
        }
    )


def _known(profile: Profile, least_share: float = LEAST_SHARE) -> Known:
    return Known.of(profile.bytes, profile.miou(least_share), np.array(profile.costs))


def _rungs(profile: Profile, known: Known) -> tuple[Rung, ...]:
    agreement, sizes = known.miou.mean(0), known.bytes.mean(0)
    return tuple(
        Rung(
            scale=rung.scale,
            qp=rung.qp,
            variant=rung.variant,
            agreement=agreement[rung.index],
            bytes=sizes[rung.index],
            cost=profile.costs[rung.index],
        )
        for rung in profile.ladder.rungs()
    )


def _optimal(adaptations: Sequence[Adaptation], configurations: int) -> Optimal:
    used = shares(np.concatenate([row.choices for row in adaptations]), configurations)
    return Optimal(
        configurations=int((used > 0).sum()),
        largest_share=float(used.max()),
        most_used=int(used.argmax()),
        cost=float(np.mean([row.cost for row in adaptations])),
        failure=float(np.mean([row.failure for row in adaptations])),
    )


def _clip_row(profile: Profile, clip: Clip, labels: LabelCounts) -> ClipRow:
    labelled = labels.get(clip.name)
    own = [segment.miou() for segment in profile.segments if segment.clip == clip.name]
    return ClipRow(
        name=clip.name,
        native_size=clip.native_size,
        native_fps=clip.native_fps,
        size=(clip.format.width, clip.format.height),
        fps=clip.format.fps,
        segments=len(own),
        agreement=tuple(np.mean(own, axis=0).tolist()),
        pseudo_labels=None if labelled is None else tuple(mean_iou(counts) for counts in labelled),
    )


def _class_rows(profile: Profile, labels: LabelCounts) -> tuple[ClassRow, ...]:
    counts = profile.total_overlap()
    labelled = label_iou(all_clips(labels)) if labels else None  # (variants, classes)
    iou, held = class_iou(counts), counts.reference[0] / counts.reference[0].sum()
    return tuple(
        ClassRow(
            name=name,
            share=float(held[index]),
            agreement=_numbers(iou[:, index]),
            pseudo_labels=None if labelled is None else _numbers(labelled[:, index]),
        )
        for index, name in enumerate(profile.classes)
    )


def _numbers(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)


def _share_rows(profile: Profile, target: float) -> tuple[ShareRow, ...]:
    bandwidth = BANDWIDTHS[len(BANDWIDTHS) // 2]
    usual = _known(profile)
    usual_cost = usual.costs[adaptation(usual, target, bandwidth).choices]
    rows = []
    for least_share in (share for share in LEAST_SHARES if share * len(profile.classes) <= 1):
        other = _known(profile, least_share)
        cost = other.costs[adaptation(other, target, bandwidth).choices]
        rows.append(
            ShareRow(
                least_share=least_share,
                agreement=float(other.miou.mean()),
                changed_sides=float(((other.miou < target) != (usual.miou < target)).mean()),
                segments_changed=float((cost != usual_cost).mean()),
            )
        )
    return tuple(rows)
