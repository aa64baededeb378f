"""The camera against a real HTTP peer: paces, retries under one seq, drops, outages, bundles."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest

from clients.bandwidth import Uplink
from clients.camera import Camera, SegmentResult, default_name
from clients.connection import PenanceServer
from clients.errors import RefusedByServer, ServerUnreachable
from clients.policy import Choice, FixedPolicy, Observation
from clients.source import VideoSource
from configs.ladder import Configuration
from tests.clients.peer import KEY, Peer, Query


def camera(peer: Peer, video: Path, **options: object) -> Camera:
    source = VideoSource(str(video), box=(64, 48))
    usual = {"pace": "server", "patience": 20.0, "policy": "fixed:0"}
    return Camera(source, key=KEY, server=peer.url, **{**usual, **options})  # type: ignore[arg-type]


def run(made: Camera) -> list[SegmentResult]:
    with made:
        return list(made.run())


def test_every_segment_is_answered_in_server_pace(peer: Peer, video: Path) -> None:
    peer.next_seq = 41
    results = run(camera(peer, video, policy="round-robin", masks="all", target_miou=0.7))
    assert [r.seq for r in results] == [41, 42, 43, 44]
    assert [frames for _, _, frames in peer.received] == [15] * 4
    assert all(r.answer and r.answer.masks and len(r.frames) == 15 for r in results)
    assert len({r.configuration.variant for r in results}) == 4
    first, last = peer.received[0][1], peer.received[-1][1]
    assert "bandwidth" not in first
    assert float(last["bandwidth"]) > 0
    assert "target" not in first  # the server's is in force
    assert peer.registrations[0]["target_miou"] == 0.7
    assert abs(float(first["captured_at"]) - time.time()) < 60
    assert peer.registrations[0]["segment"] == {"seconds": 1.0, "fps": 15.0, "width": 64, "height": 48}


def test_where_there_is_no_learnt_policy_a_camera_says_so_and_sends_the_best(peer: Peer, video: Path) -> None:
    said: list[str] = []
    results = run(camera(peer, video, policy="auto", notify=said.append))
    assert {r.configuration.index for r in results} == {0}
    assert any("no learnt policy" in line for line in said)


def test_overload_and_quota_are_retried_under_the_same_seq(peer: Peer, video: Path) -> None:
    tries: list[int] = []

    def fault(seq: int, query: Query) -> int | None:
        tries.append(seq)
        return {0: 503, 1: 429}.get(tries.count(seq) - 1) if seq == 1 else None

    peer.fault = fault
    results = run(camera(peer, video, segments=3))
    assert tries == [0, 1, 1, 1, 2]
    assert [r.attempts for r in results] == [1, 3, 1]
    assert all(r.answer for r in results)


def test_a_lost_answer_is_asked_for_again_and_counts_once(peer: Peer, video: Path) -> None:
    lost = iter(["hang up"])
    peer.fault = lambda seq, query: next(lost, None) if seq == 1 else None
    results = run(camera(peer, video))
    assert [r.seq for r in results] == [0, 1, 2, 3]
    assert [bool(r.answer and r.answer.replayed) for r in results] == [False, True, False, False]
    assert [seq for seq, _, _ in peer.received] == [0, 1, 2, 3]


def test_a_refused_segment_is_dropped_reported_once_and_not_sent_again(peer: Peer, video: Path) -> None:
    peer.fault = lambda seq, query: 422 if seq == 1 else None
    results = run(camera(peer, video, policy="fixed:7"))
    assert [(r.seq, r.dropped, r.attempts) for r in results] == [
        (0, None, 1),
        (1, "refused", 1),
        (2, None, 1),
        (3, None, 1),
    ]
    assert peer.dropped == [(1, 7)]


def test_refusals_that_do_not_end_stop_the_camera(peer: Peer, video: Path) -> None:
    peer.fault = lambda seq, query: 422
    with pytest.raises(RefusedByServer, match="422"):
        run(camera(peer, video))


def test_a_deleted_camera_ends(peer: Peer, video: Path) -> None:
    peer.fault = lambda seq, query: 404
    with pytest.raises(RefusedByServer, match="404"):
        run(camera(peer, video))


def test_a_lost_token_is_replaced_with_the_tenants_key(peer: Peer, video: Path) -> None:
    lost = iter([401])
    peer.fault = lambda seq, query: next(lost, None) if seq == 2 else None
    assert all(r.answer for r in run(camera(peer, video)))
    assert len(peer.registrations) == 2


def test_a_wrong_key_is_one_clear_error(peer: Peer, video: Path) -> None:
    with pytest.raises(RefusedByServer, match="401"):
        Camera(str(video), key="wrong.key", server=peer.url).open()


def test_a_new_bundle_is_registered_with_and_the_same_seq_goes_out_anew(peer: Peer, video: Path) -> None:
    lines: list[str] = []
    made = camera(peer, video, notify=lines.append)
    bundles = []
    with made:
        for result in made.run():
            bundles.append((result.seq, result.answer and result.answer.bundle))
            if result.seq == 1:
                peer.bundle = "test-2"
    assert bundles == [(0, "test-1"), (1, "test-1"), (2, "test-2"), (3, "test-2")]
    assert lines == ["the server changed to bundle test-2"]
    assert peer.dropped == []


def test_a_target_that_is_changed_at_the_server_is_followed_and_not_undone(peer: Peer, video: Path) -> None:
    seen: list[float] = []

    class Watching(FixedPolicy):
        def choose(self, observation: Observation) -> int:
            seen.append(observation.target_miou)
            return super().choose(observation)

    made = camera(peer, video, policy=lambda ladder: Watching(3), target_miou=0.7)
    with made:
        for result in made.run():
            if result.seq == 0:
                peer.target_miou = 0.55
            if result.seq == 2:
                peer.bundle = "test-2"  # registering again keeps it
    assert seen[0] == 0.7
    assert seen[2:] == [0.55] * (len(seen) - 2)
    assert [body["target_miou"] for body in peer.registrations] == [0.7, None]
    assert peer.target_miou == 0.55


def test_without_a_target_of_its_own_a_camera_takes_the_servers(peer: Peer, video: Path) -> None:
    peer.target_miou = 0.6
    made = camera(peer, video, segments=1)
    run(made)
    assert made.target_miou == 0.6
    assert peer.registrations[0]["target_miou"] is None


def test_the_policy_sees_the_embedding_with_what_made_it(peer: Peer, video: Path) -> None:
    peer.embedding = [0.25, 0.5]
    seen: list[Observation] = []

    class Watching(FixedPolicy):
        def choose(self, observation: Observation) -> Choice:
            seen.append(observation)
            return super().choose(observation)

    run(camera(peer, video, policy=lambda configurations: Watching(5), segments=2))
    assert (seen[0].feedback, seen[0].last_configuration, seen[0].bandwidth) == (None, None, None)
    assert seen[1].feedback is not None
    assert (seen[1].feedback.configuration, seen[1].feedback.age) == (5, 1)
    assert seen[1].feedback.embedding.of(peer.bundle).tolist() == [0.25, 0.5]
    assert seen[1].last_configuration == 5


def test_realtime_takes_the_videos_own_time(peer: Peer, video: Path) -> None:
    started = time.monotonic()
    results = run(camera(peer, video, pace="realtime", segments=2))
    assert time.monotonic() - started >= 1.95
    assert len(results) == 2


def short_source(video: Path, seconds: float) -> VideoSource:
    return VideoSource(str(video), box=(64, 48), seconds=seconds, loop=True)


def test_realtime_drops_what_is_late_and_reports_each_drop_once(peer: Peer, video: Path) -> None:
    """A server that takes three segments' time for each: the newest goes out, the others are dropped."""
    peer.think = 0.7
    made = Camera(
        short_source(video, 0.2), key=KEY, server=peer.url, policy="fixed:3", pace="realtime", segments=14
    )
    results = run(made)
    answered = [r.seq for r in results if r.answer]
    dropped = [r.seq for r in results if r.dropped]
    assert sorted(answered + dropped) == list(range(14))
    assert answered
    assert dropped
    reported = [seq for seq, _ in peer.dropped]
    assert len(reported) == len(set(reported))
    assert sorted(reported) == [seq for seq in dropped if seq < answered[-1]]
    assert {configuration for _, configuration in peer.dropped} <= {3}
    assert {seq for _, seq in peer.answers} == set(answered)


def test_realtime_drops_on_a_slow_uplink(peer: Peer, video: Path) -> None:
    made = Camera(
        short_source(video, 0.2), key=KEY, server=peer.url, pace="realtime", segments=4, uplink=Uplink(0.002)
    )
    results = run(made)
    assert {r.dropped for r in results} <= {"late", "backlog"}
    assert len(results) == 4
    assert peer.received == []


def test_an_outage_in_realtime_drops_counts_and_goes_on(video: Path) -> None:
    lines: list[str] = []
    with Peer() as first:
        port = first.port
        made = Camera(
            short_source(video, 0.2), key=KEY, server=first.url, pace="realtime", notify=lines.append
        )
        made.open()
        results = made.run()
        seen = list(itertools.islice(results, 1))
        made.server._http.close()  # the connection that is kept open would outlive the server's socket
        made.server._http = PenanceServer(first.url, KEY)._http
    while sum(r.dropped is not None for r in seen) < 3:
        seen.append(next(results))
    with Peer(port) as second:
        second.next_seq = 1
        while not seen[-1].answer or seen[-1].seq < 4:
            seen.append(next(results))
        made.stop()
        seen += list(results)
        answers, reported = second.answers, [seq for seq, _ in second.dropped]
    made.close()
    dropped = {r.seq for r in seen if r.dropped}
    assert len(reported) == len(set(reported))
    last = max(seq for _, seq in answers)
    assert {seq for seq in dropped if seq < last} >= set(reported)
    assert sum("trying again" in line for line in lines) == 1
    assert sum("answers again" in line for line in lines) == 1


def test_server_pace_waits_for_a_server_that_is_down(video: Path) -> None:
    with Peer() as probe:
        port = probe.port
    lines: list[str] = []
    source = VideoSource(str(video), box=(64, 48))
    made = Camera(source, key=KEY, server=f"127.0.0.1:{port}", pace="server", segments=2, notify=lines.append)
    results: list[SegmentResult] = []
    worker = threading.Thread(target=lambda: results.extend(run(made)))
    worker.start()
    time.sleep(0.6)
    with Peer(port):
        worker.join(20)
    assert not worker.is_alive()
    assert [bool(r.answer) for r in results] == [True, True]
    assert sum("trying again" in line for line in lines) == 1


def test_patience_ends(video: Path) -> None:
    with Peer() as probe:
        port = probe.port
    with pytest.raises(ServerUnreachable, match="gave up"):
        Camera(str(video), key=KEY, server=f"127.0.0.1:{port}", patience=0.2).open()


def test_stopping_from_another_thread_ends_the_run(peer: Peer, video: Path) -> None:
    made = camera(peer, video, pace="realtime")
    threading.Timer(0.5, made.stop).start()
    started = time.monotonic()
    run(made)
    assert time.monotonic() - started < 3


def test_configurations_come_from_the_server(peer: Peer, video: Path) -> None:
    with camera(peer, video) as made:
        assert made.configurations == peer.ladder.configurations
        assert isinstance(made.configurations[0], Configuration)
        assert made.server.variants()[0].name == "dense"
        made.server.delete()


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/videos/Main Street.mp4", "Main Street"),
        ("0", "webcam-0"),
        ("demo:", "demo"),
        ("demo:7", "demo-7"),
        ("rtsp://user:secret@10.0.0.7:554/live?x=1", "10.0.0.7:554/live"),
    ],
)
def test_names_by_source(location: str, name: str) -> None:
    assert default_name(location) == name
