"""The bridge: reads a tenant's results and publishes each; the broker has it before the next is read.

It runs where the broker is in reach, with a key that only reads, so the server holds nobody's logins and
reaches into nobody's network. What it has published it notes in a file: started again, it goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from clients.errors import CameraError
from clients.subscription import Results

PORTS = {"mqtt": 1883, "mqtts": 8883}
AT_LEAST_ONCE = 1
CONNECT_S = 10.0
LOOK_S = 0.5
AGAIN_S = (1, 10)
"""Shortest and longest time before a broker that is away is tried again."""
NOTED_EVERY_S = 1.0
TOPIC_SAFE = " :@"
"""What stays as it is in a topic's level; `/`, `+` and `#` mean something there and are percent-encoded."""


class BrokerError(CameraError):
    """The broker cannot be used; the message says why."""


class Broker:
    """One broker, `mqtt://user@host` or `mqtts://host:8883`; reconnects by itself once it was reached."""

    def __init__(self, url: str, password: str | None, prefix: str, notify: Callable[[str], None]) -> None:
        parts = urlsplit(url if "://" in url else f"mqtt://{url}")
        if parts.scheme not in PORTS or not parts.hostname:
            raise BrokerError(f"{url!r} is no broker: give mqtt://HOST or mqtts://HOST")
        if parts.password:
            raise BrokerError("a password in an address is seen by all: give it as PENANCE_MQTT_PASSWORD")
        self._host, self._port = parts.hostname, parts.port or PORTS[parts.scheme]
        self._status, self._notify = f"{prefix}/status", notify
        self._reached, self._published = threading.Event(), threading.Condition()
        self._acknowledged: set[int] = set()
        self._refusal: str | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect, self._client.on_disconnect = self._connected, self._disconnected
        self._client.on_publish = self._has
        self._client.reconnect_delay_set(*AGAIN_S)
        self._client.will_set(self._status, "offline", AT_LEAST_ONCE, retain=True)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), password)
        if parts.scheme == "mqtts":
            self._client.tls_set_context(ssl.create_default_context())

    def __enter__(self) -> Self:
        try:
            self._client.connect(self._host, self._port)
        except OSError as error:
            raise BrokerError(f"{self._host}:{self._port} cannot be reached ({error})") from error
        self._client.loop_start()
        if not self._reached.wait(CONNECT_S) or self._refusal:
            self._client.loop_stop()
            reason = self._refusal or "it does not answer"
            raise BrokerError(f"{self._host}:{self._port} lets nobody in: {reason}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError, ValueError):
            self._client.publish(self._status, "offline", AT_LEAST_ONCE, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: str, retain: bool, stopped: Callable[[], bool]) -> bool:
        """Publishes and waits until the broker has it, however long that is away; False if stopped before."""
        with self._published:
            self._acknowledged.clear()
        message = self._client.publish(topic, payload, AT_LEAST_ONCE, retain)
        # without a connection just now paho keeps it and sends it then
        if message.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise BrokerError(f"{topic} cannot be published: {mqtt.error_string(message.rc)}")
        with self._published:
            while not self._published.wait_for(lambda: message.mid in self._acknowledged, LOOK_S):
                if stopped():
                    return False
        return True

    def _has(
        self,
        client: mqtt.Client,
        data: object,
        message: int,
        reason: ReasonCode,
        properties: Properties,
    ) -> None:
        with self._published:
            self._acknowledged.add(message)
            self._published.notify_all()

    def _connected(
        self,
        client: mqtt.Client,
        data: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
        else:
            client.publish(self._status, "online", AT_LEAST_ONCE, retain=True)
            if self._reached.is_set():
                self._notify("the broker answers again")
        self._reached.set()

    def _disconnected(
        self,
        client: mqtt.Client,
        data: object,
        flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure and not self._refusal:
            self._notify(f"the broker is away ({reason}); waiting for it")


class Position:
    """The id of the last event that was published, in a file that is whole at any time."""

    def __init__(self, path: Path) -> None:
        self._path, self._noted_at = path, 0.0
        self.event: str | None = None
        with contextlib.suppress(FileNotFoundError):
            found = json.loads(path.read_text(encoding="utf-8"))
            self.event = str(found["event"])

    def note(self, event: str) -> None:
        self.event = event
        if time.monotonic() - self._noted_at >= NOTED_EVERY_S:
            self.write()

    def write(self) -> None:
        if self.event is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({"event": self.event}), encoding="utf-8")
        os.replace(draft, self._path)
        self._noted_at = time.monotonic()


def run(
    results: Results,
    broker: Broker,
    position: Position,
    names: Callable[[str], str],
    prefix: str,
    retain: bool,
    stopped: Callable[[], bool],
) -> None:
    """Publishes results until stopped."""
    try:
        for result in results:
            topic = f"{prefix}/{quote(names(result.camera), safe=TOPIC_SAFE)}/result"
            if not broker.publish(topic, result.model_dump_json(), retain, stopped):
                return
            if results.last_event_id is not None:
                position.note(results.last_event_id)
            if stopped():
                return
    finally:
        position.write()
