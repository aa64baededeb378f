"""A protocol peer: a real HTTP server in a thread that decodes what it gets and can be told to fail.

It speaks enough of version 1 to time retries, drops and outages; the real application has its own tests.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np

from clients.codec import DecodeError, DecodeLimits, decode_segment
from clients.protocol import LabelMaps, Timings
from configs.ladder import Ladder, load_ladder

KEY, TOKEN = "demo.secret", "camera.token"
CLASSES = ("road", "car", "gargoyle")
Query = dict[str, str]
# Gets (seq, query); a number is a status to refuse with, "no such path" answers as a proxy without routes
# does, "hang up" breaks the connection off after the
# commit, None lets the segment through.
Fault = Callable[[int, Query], int | str | None]


class Peer:
    """The server; `received` holds (seq, query, frames) of every body that came whole, in order."""

    def __init__(self, port: int = 0) -> None:
        self.ladder: Ladder = load_ladder()
        self.bundle = "test-1"
        self.target_miou = 0.65  # set it while a camera runs, as PATCH does
        self.codec: dict[str, str | int] = {"preset": "ultrafast", "bframes": 3}
        self.next_seq = 0  # of a camera that sent nothing yet
        self.names: list[str] = []  # of cameras; the first one's id is cam-1
        self.next_seqs: dict[str, int] = {}
        self.embedding: list[float] | None = None
        self.fault: Fault = lambda seq, query: None
        self.think = 0.0  # seconds before an answer
        self.retry_after = "0.05"
        self.registrations: list[dict[str, Any]] = []
        self.received: list[tuple[int, Query, int]] = []
        self.traceparents: list[str | None] = []  # as each request for a segment had it
        self.by_camera: Counter[str] = Counter()  # what came whole, by name
        self.answers: dict[tuple[str, int], bytes] = {}
        self.dropped: list[tuple[int, int]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def register(self, body: dict[str, Any]) -> dict[str, Any]:
        self.registrations.append(body)
        if body["target_miou"] is not None:
            self.target_miou = body["target_miou"]
        if body["name"] not in self.names:
            self.names.append(body["name"])
        camera = f"cam-{self.names.index(body['name']) + 1}"
        ladder = [
            {
                "configuration": c.index,
                "scale": c.scale,
                "qp": c.qp,
                "variant": c.variant,
                "cost": 1 / (1 + c.index),
            }
            for c in self.ladder.rungs()
        ]
        return {
            "id": camera,
            "token": TOKEN,
            "target_miou": self.target_miou,
            "next_seq": self.next_seqs.get(camera, self.next_seq),
            "bundle": self.bundle,
            "classes": CLASSES,
            "ladder": ladder,
            "codec": self.codec,
        }

    def take(
        self, camera: str, seq: int, query: Query, body: bytes, receive_ms: float
    ) -> tuple[int, bytes | None]:
        """Status and answer for one segment; a body of None means: hang up without a word."""
        if query["bundle"] != self.bundle:
            return 409, problem(409, "bundle")
        fault = self.fault(seq, query)
        if isinstance(fault, int):
            return fault, problem(
                fault, {503: "overload", 429: "quota", 422: "undecodable"}.get(fault, "stale")
            )
        if fault == "no such path":
            return 404, b"Path '/' not found."
        if (camera, seq) in self.answers:
            return 200, self.answers[camera, seq].replace(b'"replayed": false', b'"replayed": true')
        try:
            frames = decode_segment(body, DecodeLimits(width=1280, height=720, frames=120))
        except DecodeError as error:
            return 422, problem(422, str(error))
        time.sleep(self.think)
        self.received.append((seq, query, len(frames)))
        drops = [tuple(map(int, d.split(":"))) for d in query.get("dropped", "").split(",") if d]
        self.dropped += [(d[0], d[1]) for d in drops]
        number = int(camera.removeprefix("cam-"))  # registered with an earlier peer on this port, perhaps
        self.by_camera[self.names[number - 1] if number <= len(self.names) else camera] += 1
        self.next_seqs[camera] = seq + 1
        self.answers[camera, seq] = self.answer(seq, query, len(frames), receive_ms)
        return (200, None) if fault == "hang up" else (200, self.answers[camera, seq])

    def answer(self, seq: int, query: Query, frames: int, receive_ms: float) -> bytes:
        maps = np.zeros((frames, 36, 64), np.uint8)
        maps[:, 20:] = 1
        stages = dict.fromkeys(Timings.model_fields, 3.0) | {"receive": receive_ms}
        return json.dumps(
            {
                "seq": seq,
                "configuration": int(query["configuration"]),
                "bundle": self.bundle,
                "embedding": self.embedding,
                "predicted_miou": None,
                "cost": 0.5,
                "class_shares": {"road": 0.75, "car": 0.25},
                "timings_ms": stages,
                "masks": LabelMaps.pack(maps).model_dump() if query.get("masks") == "all" else None,
                "target_miou": self.target_miou,
                "replayed": False,
            }
        ).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Tests print nothing."""

            def read_body(self) -> bytes:
                """The body, whole; `ConnectionError` if the camera broke it off."""
                size = int(self.headers.get("content-length", 0))
                body = self.rfile.read(size)
                if len(body) < size:
                    raise ConnectionError
                return body

            def reply(self, status: int, body: bytes | None) -> None:
                self.send_response(status)
                if status in (429, 503):
                    self.send_header("Retry-After", peer.retry_after)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def do_POST(self) -> None:
                body = self.read_body()
                if self.headers["authorization"] != f"Bearer {KEY}":
                    return self.reply(401, problem(401, "key"))
                return self.reply(201, json.dumps(peer.register(json.loads(body))).encode())

            def do_PUT(self) -> None:
                started = time.monotonic()
                try:
                    body = self.read_body()
                except (ConnectionError, OSError):
                    self.close_connection = True
                    return
                peer.traceparents.append(self.headers["traceparent"])
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                receive_ms = 1000 * (time.monotonic() - started)
                _, _, _, camera, _, seq = url.path.split("/")
                status, answer = peer.take(camera, int(seq), query, body, receive_ms)
                if status == 200 and answer is None:
                    self.close_connection = True
                    return
                self.reply(status, answer)

            def do_GET(self) -> None:
                if self.path.startswith("/v1/bundle"):
                    return self.reply(
                        404, problem(404, "not-found")
                    )  # a server from before it handed any out
                variants = [
                    {
                        "variant": 0,
                        "name": "dense",
                        "sparsity": 0.0,
                        "parameters": 1,
                        "gflops_frame": [1.0, 0.5, 0.2],
                    }
                ]
                return self.reply(200, json.dumps(variants).encode())

            def do_DELETE(self) -> None:
                self.reply(204, None)

        return Handler


def problem(status: int, slug: str) -> bytes:
    content = {"type": f"urn:penance:problem:{slug}", "title": slug, "status": status, "detail": "as told"}
    return json.dumps(content).encode()
