"""True labels of a clip's frames, as a folder of PNG files: `CLIP_MILLISECONDS.png`, street class ids.

Some labels tell fewer classes apart than a family does. Then `counts_as.yaml` beside them names, for such a
class, the class that it counts as, and predictions are brought to that before they are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from clients.errors import SourceError
from configs.faults import describe_faults
from rl.profiles.clips import ClipSegment
from serving.miou import LabelMap

COUNTS_AS = "counts_as.yaml"
_Merge = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class SegmentLabels:
    """What is known of a segment's frames."""

    frames: dict[int, LabelMap]  # by position in the segment, at its full size
    counts_as: NDArray[np.uint8]  # (classes,) the class that each one counts as


UNLABELLED = SegmentLabels({}, np.arange(256, dtype=np.uint8))


@dataclass(frozen=True)
class LabelFolder:
    """Labels of many clips."""

    folder: Path
    counts_as: NDArray[np.uint8]  # (classes,)

    @classmethod
    def of(cls, folder: Path, classes: tuple[str, ...]) -> LabelFolder:
        """Raises `SourceError` where the folder says wrongly what counts as what."""
        table = np.arange(len(classes), dtype=np.uint8)
        path = folder / COUNTS_AS
        if path.exists():
            try:
                merge = _Merge.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
            except (yaml.YAMLError, ValidationError) as error:
                reason = describe_faults(error) if isinstance(error, ValidationError) else str(error)
                raise SourceError(f"{path} should map classes to classes: {reason}") from error
            unknown = sorted({*merge, *merge.values()} - set(classes))
            if unknown:
                raise SourceError(f"{path} names {', '.join(unknown)}; there are {', '.join(classes)}")
            for name, other in merge.items():
                table[classes.index(name)] = classes.index(other)
        return cls(folder, table)

    def of_segment(self, segment: ClipSegment) -> SegmentLabels:
        """The labels whose time is a frame's, to the millisecond, brought to the segment's full size."""
        size = (segment.format.width, segment.format.height)
        found = {}
        for number, time in enumerate(segment.times):
            path = self.folder / f"{segment.clip}_{round(time * 1000)}.png"
            if path.exists():
                with Image.open(path) as picture:
                    found[number] = np.asarray(picture.resize(size, Image.Resampling.NEAREST), np.uint8)
        return SegmentLabels(found, self.counts_as)
