"""Segments of the generated street, compressed once before anything is measured."""

from __future__ import annotations

from clients.codec import CodecFlags, encode_segment
from clients.protocol import SegmentFormat
from clients.scene import StreetScene
from configs.bundle import Bundle
from configs.ladder import CompressionSetting, Configuration


class Footage:
    """H.264 bodies by configuration. Cameras take different stretches of the drive, over and over."""

    def __init__(self, bundle: Bundle, form: SegmentFormat, stretches: int) -> None:
        self._bundle, self.form = bundle, form
        scene = StreetScene(width=form.width, height=form.height)
        self._frames = [
            [scene.frame(7.0 * stretch + index / form.fps) for index in range(form.frames)]
            for stretch in range(stretches)
        ]
        self._bodies: dict[CompressionSetting, list[bytes]] = {}  # all variants get the same

    def bodies(self, configuration: Configuration) -> list[bytes]:
        """One body a stretch, as a camera with this configuration would send them."""
        flags = CodecFlags.model_validate(self._bundle.manifest.codec)
        if configuration.setting not in self._bodies:
            self._bodies[configuration.setting] = [
                encode_segment(frames, configuration.setting, round(self.form.fps), flags)
                for frames in self._frames
            ]
        return self._bodies[configuration.setting]
