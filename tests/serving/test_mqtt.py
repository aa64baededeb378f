"""The MQTT bridge between a real interface and a real mosquitto."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from clients.protocol import Registration
from clients.results import Result
from load_tests.application import free_port
from load_tests.interface import served
from serving.keys import Keyring, Principal
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from tests.serving.test_results import committed
from tests.serving.test_state import MANY

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    MOSQUITTO is None, reason="needs mosquitto, which is not installed (apt-get install mosquitto)"
)
USER, PASSWORD = "bridge", "not-a-secret"


class Mosquitto:
    """A broker on a free port that lets only `USER` in; it can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        passwords, self._configuration = directory / "passwords", directory / "mosquitto.conf"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, USER, PASSWORD], check=True)
        passwords.chmod(0o644)
        self._configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n"
            f"persistence true\npersistence_location {directory}/\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", self._configuration], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)


class Subscriber:
    """What a program at the broker gets."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, str]] = []
        self._subscribed = threading.Event()
        # a session that outlives its connection: the broker keeps for it what comes meanwhile
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, "subscriber", clean_session=False)
        self.client.username_pw_set(USER, PASSWORD)
        self.client.on_connect = lambda client, *_: client.subscribe("penance/#", qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda client, data, message: self.messages.append(
            (message.topic, message.payload.decode())
        )
        for _ in range(200):
            try:
                self.client.connect("127.0.0.1", port)
                break
            except OSError:
                time.sleep(0.1)
        self.client.reconnect_delay_set(0.1, 0.2)
        self.client.loop_start()
        assert self._subscribed.wait(30)

    def results(self, topic: str) -> list[Result]:
        return [Result.model_validate_json(payload) for found, payload in self.messages if found == topic]

    def wait(self, topic: str, count: int) -> list[Result]:
        """Results once so many different ones are there; at least once is what the broker promises."""
        ends = time.monotonic() + 60
        while len({result.seq for result in self.results(topic)}) < count and time.monotonic() < ends:
            time.sleep(0.05)
        return self.results(topic)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=64, lease_s=5)
    yield store
    await store.close()


def bridge(url: str, key: str, broker: Mosquitto, directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from clients.mqtt.cli import main; main()"]
    command += [f"mqtt://{USER}@127.0.0.1:{broker.port}", "--server", url, "--retain"]
    command += ["--position", str(directory / "position.json")]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PENANCE_KEY": key, "PENANCE_MQTT_PASSWORD": PASSWORD},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "publishing" in process.stderr.readline()
    return process


async def test_results_reach_a_broker_once_through_restarts_of_both(
    server: EmbeddedServer, store: StateStore, broker: Mosquitto, tenant: str, tmp_path: Path
) -> None:
    name = f"gate/{uuid.uuid4().hex}"
    camera = await store.register(tenant, "c" + uuid.uuid4().hex, Registration(name=name), MANY)
    key = await Keyring(store).issue(Principal(tenant, "read-only"))
    topic = f"penance/{name.replace('/', '%2F')}/result"
    subscriber = Subscriber(broker.port)
    with served(server.url) as url:
        # as if it had run before: a first start begins with what comes, whenever that is
        (tmp_path / "position.json").write_text('{"event": "0-0"}')
        first = bridge(url, key, broker, tmp_path)
        for seq in range(5):
            await store.commit(camera, committed(seq))
        assert [result.seq for result in subscriber.wait(topic, 5)] == [0, 1, 2, 3, 4]
        broker.stop()
        for seq in range(5, 10):
            await store.commit(camera, committed(seq))
        broker.start()
        found = subscriber.wait(topic, 10)
        assert sorted({result.seq for result in found}) == list(range(10))
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0
        for seq in range(10, 15):
            await store.commit(camera, committed(seq))
        second = bridge(url, key, broker, tmp_path)
        subscriber.wait(topic, 15)
        seqs = [result.seq for result in subscriber.results(topic)]
        assert sorted(set(seqs)) == list(range(15))
        assert json.loads(subscriber.messages[-1][1])["camera"] == camera
        second.kill()
        second.wait()
        ends = time.monotonic() + 30
        while ("penance/status", "offline") not in subscriber.messages[-3:] and time.monotonic() < ends:
            time.sleep(0.1)
        assert subscriber.messages[-1] == ("penance/status", "offline")
    subscriber.close()


def test_a_broker_that_lets_nobody_in_is_said_in_one_line(broker: Mosquitto, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from clients.mqtt.cli import main; main()", "--position", "x"]
    environment = {**os.environ, "PENANCE_KEY": "a.b", "PENANCE_MQTT_PASSWORD": "wrong"}
    for address, word in (
        (f"mqtt://{USER}@127.0.0.1:{broker.port}", "lets nobody in"),
        ("amqp://x", "no broker"),
    ):
        done = subprocess.run(
            [*command, address], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert word in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
