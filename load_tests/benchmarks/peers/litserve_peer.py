"""The variant behind LitServe: its server process and one worker process that holds the model."""

import sys
from typing import Annotated, Any

import litserve
from fastapi import Body

from load_tests.benchmarks.peers.model import PeerModel, PeerTask

# No postponed annotations: LitServe makes its endpoint of the types that it finds here.
Segment = Annotated[bytes, Body(media_type="video/mp4")]


class VariantAPI(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self._model = PeerModel(PeerTask.given())

    def decode_request(self, request: Segment) -> bytes:
        return request

    def predict(self, data: bytes) -> dict[str, Any]:
        return self._model.segment(data)

    def encode_response(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer


def main() -> None:
    server = litserve.LitServer(
        VariantAPI(api_path="/segment"), accelerator="cpu", workers_per_device=int(sys.argv[2]), timeout=60
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
