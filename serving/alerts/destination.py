"""Where a webhook may go. Its address is a tenant's choice, so the server must not become the tenant's hand
in networks that only the server can reach: the address is judged again, as resolved, for each delivery, and
the connection goes to the very address that was judged.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import httpx

from serving.alerts.decision import AlertOptions
from serving.problems import Invalid

_NAT64 = IPv6Network("64:ff9b::/96")
LOCAL_NAMES = ("localhost", "localhost.localdomain")


class OutOfBounds(ValueError):
    """This address may not be reached; the message says why."""


def check_url(text: str, options: AlertOptions) -> httpx.URL:
    """A webhook's URL, as far as it can be judged without resolving its host. Raises `Invalid`."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Invalid(f"The webhook's URL cannot be read: {error}. Give one like https://host.") from error
    if url.scheme not in ("https", "http") or not url.host:
        raise Invalid("The webhook's URL must begin with https:// and name a host.")
    if url.userinfo or url.fragment:
        raise Invalid("The webhook's URL may hold no login and no #. Deliveries are signed with its secret.")
    literal, local = _literal(url.host), url.host.lower().rstrip(".") in LOCAL_NAMES
    loopback = local or (literal is not None and _inner(literal).is_loopback)
    if url.scheme == "http" and not loopback and not options.plain_http:
        raise Invalid("The webhook's URL must begin with https://: alerts go to no host unencrypted.")
    if not options.private_networks and (local or (literal is not None and not _public(literal))):
        raise Invalid(f"{url.host} is not a public address. Give one that can be reached from the internet.")
    return url


def check_address(text: str, options: AlertOptions) -> None:
    """Raises `OutOfBounds` for a resolved address that webhooks may not reach."""
    address = _literal(text)
    if address is None or not (options.private_networks or _public(address)):
        raise OutOfBounds("the host resolves to an address that is not public")


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _public(address: IPv4Address | IPv6Address) -> bool:
    inner = _inner(address)
    tunnelled = isinstance(address, IPv6Address) and address.teredo is not None
    return inner.is_global and not inner.is_multicast and not tunnelled
