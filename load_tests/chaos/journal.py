"""One camera's side of what the server should have counted, and the comparison with what it did."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from clients.protocol import SegmentAnswer, SegmentFormat
from configs.bundle import Bundle
from load_tests.plain_camera import PlainCamera
from serving.state.averages import Averages

PATIENCE_S = 240.0
BANDWIDTH, SECONDS, TARGET = 0.3, 0.2, 0.65
FORM = SegmentFormat(seconds=SECONDS, fps=15, width=128, height=96)
"""Small frames: what is tried is counting, not segmenting."""


@dataclass
class Journal:
    """What one camera was answered: seqs in the order of their commits, and everything it dropped."""

    camera: PlainCamera
    configurations: tuple[int, ...]
    segments: int
    body: bytes
    random: random.Random
    committed: list[tuple[int, int, tuple[tuple[int, int], ...]]] = field(default_factory=list)
    answers: dict[int, SegmentAnswer] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Sends every seq, some swapped with their neighbours, some reported as dropped, many repeated."""
        order = list(range(self.segments))
        for i in range(0, self.segments - 1, 5):
            if self.random.random() < 0.5:
                order[i], order[i + 1] = order[i + 1], order[i]
        dropped: list[tuple[int, int]] = []
        for seq in order:
            configuration = self.random.choice(self.configurations)
            if self.random.random() < 0.1 and seq > max(self.answers, default=-1):
                dropped.append((seq, configuration))
                continue
            reported = tuple(drop for drop in dropped if drop[0] < seq)
            if self._send_until_settled(seq, configuration, reported):
                dropped = [drop for drop in dropped if drop[0] > seq]
            if self.answers and self.random.random() < 0.3:
                self._repeat(self.random.choice(sorted(self.answers)[-8:]))

    def _send_until_settled(
        self, seq: int, configuration: int, reported: tuple[tuple[int, int], ...]
    ) -> bool:
        text = ",".join(f"{drop}:{index}" for drop, index in reported)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            sends = 2 if self.random.random() < 0.2 else 1
            replies = self._send_at_once(sends, seq, configuration, text)
            good = [
                SegmentAnswer.model_validate(r.json())
                for r in replies
                if r is not None and r.status_code == 200
            ]
            if good:
                assert sum(not answer.replayed for answer in good) <= 1
                self.answers[seq] = good[0].model_copy(update={"replayed": False})
                self.committed.append((seq, good[0].configuration, reported))
                return True
            if any(r is not None and r.status_code == 409 for r in replies):
                self.stale.add(seq)
                return False
            refused = [r for r in replies if r is not None]
            assert all(r.status_code in (500, 503) for r in refused), refused[0].text
            time.sleep(0.2 + self.random.random() * 0.3)
        raise AssertionError(f"segment {seq} was not answered within {PATIENCE_S:g} s")

    def _send_at_once(
        self, sends: int, seq: int, configuration: int, text: str
    ) -> list[httpx.Response | None]:
        def send() -> httpx.Response | None:
            try:
                return self.camera.put(
                    seq, self.body, configuration=configuration, bandwidth=BANDWIDTH, dropped=text or None
                )
            except httpx.TransportError:
                return None

        if sends == 1:
            return [send()]
        with ThreadPoolExecutor(sends) as pool:
            return list(pool.map(lambda _: send(), range(sends)))

    def _repeat(self, seq: int) -> None:
        replies = self._send_at_once(1, seq, self.configurations[0], "")
        if replies[0] is not None and replies[0].status_code == 200:
            answer = SegmentAnswer.model_validate(replies[0].json())
            assert answer.replayed
            assert answer.model_copy(update={"replayed": False}) == self.answers[seq]

    def settled(self) -> int:
        """Segments of which it is known what became of them; a drop after the last one is not reported."""
        return len(self.committed) + len(self.stale) + int(self.camera.status()["dropped"])

    def differences(self, bundle: Bundle) -> list[str]:
        """Where the server's counters and averages are not, to the bit, those of replaying the commits one
        after the other."""
        averages, total, dropped, counted = Averages(), 0.0, 0, set[int]()
        for seq, configuration, reported in self.committed:
            for drop, index in sorted(reported):  # the server counts them in this order
                if drop not in counted:
                    averages = averages.after_drop(TARGET, bundle.costs[index])
                    total, dropped = total + bundle.costs[index], dropped + 1
                    counted.add(drop)
            predicted = self.answers[seq].predicted_miou
            assert predicted is not None
            overuse = len(self.body) / 1e6 - BANDWIDTH * SECONDS
            averages = averages.after_segment(
                TARGET, bundle.costs[configuration], overuse, TARGET - predicted
            )
            total += bundle.costs[configuration]
            counted.add(seq)
        expected = {
            "segments": len(self.committed),
            "dropped": dropped,
            "bytes": len(self.committed) * len(self.body),
            "cost_total": total,
            "cost_average": averages.cost,
            "overuse_average": averages.overuse,
            "deficit_average": averages.deficit,
        }
        found = self.camera.status()
        return [
            f"camera {self.camera.id}: {name} is {found[name]}, expected is {value}"
            for name, value in expected.items()
            if found[name] != value
        ]


def usage_differences(http: httpx.Client, key: str, journals: Sequence[Journal], bundle: Bundle) -> list[str]:
    """Where the tenant's usage is not, to the byte and FLOP, that of what its cameras had committed."""
    usage = http.get("/v1/usage", headers={"Authorization": f"Bearer {key}"}).raise_for_status().json()
    committed = [(journal, entry) for journal in journals for entry in journal.committed]
    expected = {
        "segments": len(committed),
        "bytes": sum(len(journal.body) for journal, _ in committed),
        "flops": sum(
            bundle.segment_flops(bundle.ladder[index], FORM.frames, FORM.width, FORM.height)
            for _, (_, index, _) in committed
        ),
    }
    return [
        f"usage: {name} is {usage[name]}, expected is {value}"
        for name, value in expected.items()
        if usage[name] != value
    ]
