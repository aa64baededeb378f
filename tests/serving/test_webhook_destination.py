"""Where webhooks may go: never into the server's own network, never unencrypted, unless a setting says so."""

from __future__ import annotations

import pytest

from serving.alerts.decision import AlertOptions
from serving.alerts.destination import OutOfBounds, check_address, check_url
from serving.problems import Invalid

STRICT = AlertOptions()
PRIVATE = AlertOptions(private_networks=True)
PLAIN = AlertOptions(plain_http=True)


@pytest.mark.parametrize(
    "url", ["https://hooks.example/a?b=c", "https://93.184.215.14:8443/x", "https://[2606:4700::1111]/"]
)
def test_public_addresses_are_taken_over_https(url: str) -> None:
    assert check_url(url, STRICT).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "http://localhost:8265/api/jobs",
        "https://LOCALHOST./",
        "https://10.0.0.7/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
        "https://224.0.0.1/",
    ],
)
def test_addresses_that_are_not_public_are_refused(url: str) -> None:
    with pytest.raises(Invalid):
        check_url(url, STRICT)
    with pytest.raises(Invalid):
        check_url(url, PLAIN)
    check_url(url, PRIVATE)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://hooks.example/", "https"),
        ("https://user:word@hooks.example/", "login"),
        ("https://hooks.example/#a", "login"),
        ("ftp://hooks.example/", "https"),
        ("https://", "host"),
        ("https://[::1", "read"),
    ],
)
def test_what_is_no_proper_url_is_refused_with_what_was_expected(url: str, word: str) -> None:
    with pytest.raises(Invalid, match=word):
        check_url(url, PRIVATE)


def test_plain_http_needs_loopback_or_a_setting() -> None:
    with pytest.raises(Invalid, match="https"):
        check_url("http://10.0.0.7/", PRIVATE)
    check_url("http://127.0.0.1:9000/", PRIVATE)
    check_url("http://hooks.example/", PLAIN)


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "::1", "fe80::1%eth0", "127.0.0.53", "::ffff:169.254.169.254"]
)
def test_a_name_that_resolves_into_the_network_is_refused(address: str) -> None:
    with pytest.raises(OutOfBounds):
        check_address(address, STRICT)
    check_address(address, PRIVATE)


def test_a_name_that_resolves_to_a_public_address_is_taken() -> None:
    check_address("93.184.215.14", STRICT)
