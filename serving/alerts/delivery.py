"""Delivers one tenant's alerts to its webhook: signed, tried again until they are answered or given up."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
import time

import certifi
import httpx

from clients.alerts import DELIVERY_HEADER, SIGNATURE_HEADER, sign
from clients.retry import Backoff, RandomSource
from serving.alerts.decision import AlertOptions
from serving.alerts.destination import check_address, check_url
from serving.problems import Invalid
from serving.state.alerts import AlertStore, Delivery

LEASE_S = 60.0
"""How long a delivery stays claimed by a replica that fell silent; longer than one attempt may take."""

logger = logging.getLogger("ray.serve")


class Courier:
    """Posts deliveries; one instance an ingress replica."""

    def __init__(
        self, store: AlertStore, options: AlertOptions, random_source: RandomSource = random.random
    ) -> None:
        self._store, self._options, self._random = store, options, random_source
        self._backoff = Backoff(base=options.backoff_s, cap=options.backoff_most_s)
        self._trust = _trusted()

    async def deliver_due(self, tenant: str) -> None:
        """Tries everything of a tenant that is due now, one after the other. Raises `StateUnavailable`."""
        async with httpx.AsyncClient(verify=self._trust, trust_env=False, follow_redirects=False) as http:
            while (delivery := await self._store.claim(tenant, LEASE_S)) is not None:
                fault = await self._attempt(http, delivery)
                if fault is None:
                    await self._store.delivered(tenant, delivery.id)
                    continue
                over = delivery.attempt >= self._options.attempts
                wait = None if over else self._backoff.delay(delivery.attempt, self._random)
                await self._store.failed(tenant, delivery.id, fault, wait)
                logger.warning(
                    "Attempt %d of delivery %s of tenant %s failed (%s)%s.",
                    *(delivery.attempt, delivery.id, tenant, fault, "; given up" if over else ""),
                )

    async def _attempt(self, http: httpx.AsyncClient, delivery: Delivery) -> str | None:
        """One attempt; None if it was answered 2xx, else what was wrong. Bodies of answers are not read."""
        try:
            async with asyncio.timeout(self._options.timeout_s):
                url = check_url(delivery.url, self._options)
                address = await self._resolved(url)
                body = delivery.body.encode()
                headers = {
                    "Host": url.netloc.decode("ascii"),
                    "Content-Type": "application/json",
                    "User-Agent": "penance",
                    DELIVERY_HEADER: delivery.id,
                    SIGNATURE_HEADER: sign(delivery.secret, body, int(time.time())),
                }
                async with http.stream(
                    "POST",
                    url.copy_with(host=address),
                    content=body,
                    headers=headers,
                    timeout=self._options.timeout_s,
                    extensions={"sni_hostname": _name(url)},  # certificates are checked against the name
                ) as answer:
                    return None if answer.is_success else f"answered {answer.status_code}"
        except TimeoutError:
            return f"no answer within {self._options.timeout_s:g} s"
        except Invalid as error:
            return error.detail
        except (
            httpx.HTTPError,
            OSError,
            ValueError,
        ) as error:  # among them OutOfBounds, and names no DNS takes
            return (str(error) or type(error).__name__)[:200]

    async def _resolved(self, url: httpx.URL) -> str:
        """The address to connect to; every one that the host has must be allowed, or none is taken."""
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(_name(url), port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            check_address(address, self._options)
        return addresses[0]


def _trusted() -> ssl.SSLContext:
    """Certifi's authorities and the system's, so that a company's own is known where its machines know it."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


def _name(url: httpx.URL) -> str:
    """The host as DNS and certificates write it."""
    return url.raw_host.decode("ascii")
