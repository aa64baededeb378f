"""Deliveries over TLS: to the very address that was judged, by a certificate of the name in the URL."""

from __future__ import annotations

import asyncio
import socket
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from clients.alerts import Alert, AlertEvent
from serving.alerts.decision import AlertOptions
from serving.alerts.delivery import Courier
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore

NAME, OTHERS = "hooks.example", "elsewhere.example"
HERE, NOWHERE = "127.0.0.1", "127.0.0.9"
OPTIONS = AlertOptions(private_networks=True, attempts=1, timeout_s=20)


@dataclass
class Hook:
    """A receiver that speaks TLS: the names it was asked for, and the heads of what it got."""

    port: int = 0
    names: list[str | None] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that this machine trusts beside those it has."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


@asynccontextmanager
async def hook(certificate: trustme.LeafCert) -> AsyncIterator[Hook]:
    opened = Hook()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        opened.names.append(name)

    context.sni_callback = note
    server = await asyncio.start_server(opened.answer, HERE, 0, ssl=context)
    opened.port = server.sockets[0].getsockname()[1]
    async with server:
        yield opened


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """DNS as who rebinds names has it: the hook's address at the first question, another ever after."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def answer(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == NAME:
            asked.append(name)
            host = HERE if len(asked) == 1 else NOWHERE
        return resolve(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=8, lease_s=1)
    yield store
    await store.close()


async def deliver(store: StateStore, tenant: str, url: str) -> str | None:
    """One alert's one attempt; what went wrong, None if nothing did."""
    await store.alerts.set_webhook(tenant, url, "s" * 16)
    alert = Alert(id="a" * 16, kind="silent", camera=None, name=None, detail="It is quiet.", opened_at=1.0)
    event = AlertEvent(id=uuid.uuid4().hex[:16], event="alert.opened", tenant=tenant, alert=alert)
    await store.alerts.open(tenant, "silent:", event)
    await Courier(store.alerts, OPTIONS).deliver_due(tenant)
    found = await store.alerts.webhook(tenant)
    assert found is not None
    assert (found.delivered_at is None) == (found.last_error is not None)
    return found.last_error


async def test_a_name_that_is_certified_is_reached_at_the_address_that_was_judged(
    store: StateStore, tenant: str, authority: trustme.CA, names: list[str]
) -> None:
    async with hook(authority.issue_cert(NAME)) as opened:  # not for the address: that alone would not do
        assert await deliver(store, tenant, f"https://{NAME}:{opened.port}/a") is None
    assert names == [NAME]  # asked for once: nobody resolves it anew between the judgement and the connection
    assert opened.names == [NAME]
    assert len(opened.got) == 1
    head = opened.got[0].decode().lower()
    assert head.startswith("post /a http/1.1")
    assert f"host: {NAME}:{opened.port}" in head


@pytest.mark.parametrize("certified", [OTHERS, HERE], ids=["another name", "the address alone"])
async def test_a_certificate_of_anything_else_is_refused_before_anything_is_sent(
    store: StateStore, tenant: str, authority: trustme.CA, names: list[str], certified: str
) -> None:
    async with hook(authority.issue_cert(certified)) as opened:
        fault = await deliver(store, tenant, f"https://{NAME}:{opened.port}/a")
    assert fault is not None
    assert "certificate is not valid" in fault
    assert opened.names == [NAME]
    assert opened.got == []


async def test_an_authority_that_nobody_here_knows_certifies_nothing(
    store: StateStore, tenant: str, authority: trustme.CA, names: list[str]
) -> None:
    async with hook(trustme.CA().issue_cert(NAME)) as opened:
        fault = await deliver(store, tenant, f"https://{NAME}:{opened.port}/a")
    assert fault is not None
    assert "CERTIFICATE_VERIFY_FAILED" in fault
    assert opened.got == []
