"""The variant behind BentoML: `bentoml serve` runs this service."""

from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType

from load_tests.benchmarks.peers.model import PeerModel, PeerTask


@bentoml.service(traffic={"timeout": 60}, threads=4)
class Variant:
    def __init__(self) -> None:
        self._model = PeerModel(PeerTask.given())

    @bentoml.api(route="/segment")  # type: ignore[untyped-decorator]
    def segment(self, segment: Annotated[Path, ContentType("video/mp4")], /) -> dict[str, Any]:
        return self._model.segment(segment.read_bytes())
