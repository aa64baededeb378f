"""Requests that are whole and well-formed HTTP, and wrong in what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from clients.protocol import SEGMENT_TYPE
from load_tests.chaos.fuzz.bodies import mutated
from load_tests.chaos.fuzz.case import Case, Due, Piece, Target, request
from load_tests.chaos.fuzz.values import damaged_json, text

SEGMENT_HEADERS = (("Content-Type", SEGMENT_TYPE),)
JSON_HEADERS = (("Content-Type", "application/json"),)
PARAMETERS = (
    "configuration", "bundle", "bandwidth", "target", "deadline_ms", "captured_at", "dropped", "masks",
    "probability", "feedback", "seen", "unheard-of",
)  # fmt: skip
HEADERS = (
    "Authorization", "Content-Type", "X-Request-ID", "Accept", "Accept-Encoding", "Content-Encoding",
    "Cookie",
    "Range", "If-None-Match", "Last-Event-ID", "X-Forwarded-For", "Forwarded", "Traceparent",
    "Tracestate",
    "Serve_Multiplexed_Model_ID", "X-Serve-Ignore", "Origin", "Referer", "User-Agent",
    "X-HTTP-Method-Override",
)  # fmt: skip
READ: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/v1/clients", ("name", "after", "limit")),
    ("/v1/usage", ("month", "format", "tenant")),
    ("/v1/alerts", ("after", "limit", "tenant", "open")),
    ("/v1/audit", ("after", "limit", "tenant")),
    ("/v1/keys", ("after", "limit", "tenant")),
    ("/v1/transitions", ("after", "limit", "camera", "format")),
    ("/v1/promise", ("tenant",)),
    ("/v1/variants", ("x",)),
    ("/v1/bundle", ("x",)),
)
ENDLESS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/v1/results", ("after", "masks")),
    ("/v1/live", ("after", "masks")),
    ("/v1/clients/{camera}/results", ("after", "masks")),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "A" * 40)
PARTS = (
    "v1", "clients", "segments", "keys", "bundle", "files", "assets", "..", "%2e%2e", "%00", "%ff%fe",
    "", ".",
    "etc", "passwd", "policy.onnx", "upload", "results", "rotate", "tenants", "limits", "-", "%2f",
    "a" * 3000,
    "docs", "openapi.json", "%F0%9F%98%80", ";x=y", "*", "%", "%zz",
)  # fmt: skip
LEGAL_HEADER = re.compile(r"[\x20-\x7e]{0,4096}")


def body_case(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Case:
    body, what = mutated(random, segments)
    sent = request("PUT", segment_path(index, target), SEGMENT_HEADERS, body, target)
    return Case(index, "body", what, (Piece(sent),), Due.ANSWER)


def query_case(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Case:
    """A good segment with parameters that are not; sometimes a number that is none."""
    parameters = [("configuration", str(target.configuration)), ("bundle", target.bundle)]
    for _ in range(random.choice((1, 1, 2, 5))):
        name = random.choice(PARAMETERS)
        if random.random() < 0.7:
            parameters = [pair for pair in parameters if pair[0] != name]
        if random.random() < 0.95:
            parameters.append((name, text(random)))
    seq = str(index) if random.random() < 0.8 else quote(text(random) or "-", safe="", errors="surrogatepass")
    query = urlencode(parameters, errors="surrogatepass")
    path = f"/v1/clients/{target.camera}/segments/{seq}?{query}"
    sent = request("PUT", path, SEGMENT_HEADERS, random.choice(segments), target)
    return Case(index, "query", ", ".join(name for name, _ in parameters), (Piece(sent),), Due.ANSWER)


def header_case(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Case:
    headers = list(SEGMENT_HEADERS)
    for _ in range(random.choice((1, 1, 3))):
        name = random.choice(HEADERS)
        headers = [pair for pair in headers if pair[0] != name] + [(name, text(random))]
    legal = all(LEGAL_HEADER.fullmatch(value) for _, value in headers)
    sent = request("PUT", segment_path(index, target), headers, random.choice(segments), target)
    due = Due.ANSWER if legal else Due.ANYTHING
    return Case(index, "header", ", ".join(name for name, _ in headers), (Piece(sent),), due)


def json_case(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Case:
    name, (method, path, document) = random.choice(list(_documents(random, target).items()))
    body, how = damaged_json(random, document)
    sent = request(method, path, JSON_HEADERS, body, target, target.key)
    return Case(index, "json", f"{name}: {how}", (Piece(sent),), Due.ANSWER, method)


def _documents(random: Random, target: Target) -> dict[str, tuple[str, str, Any]]:
    camera = {
        "name": f"fuzzed-{random.randrange(16)}",
        "target_miou": 0.6,
        "segment": {"seconds": 0.2, "fps": 15, "width": 128, "height": 96},
    }
    tenant = f"/v1/tenants/{target.tenant}"
    return {
        "register": ("POST", "/v1/clients", camera),
        "patch": (
            "PATCH",
            f"/v1/clients/{target.victim}",
            {"target_miou": 0.5, "limits": {"bytes_per_s": 1e9}, "segment": camera["segment"]},
        ),
        "retention": ("PATCH", f"{tenant}/retention", {"window_s": 60, "label_maps": "none"}),
        "webhook": ("PUT", f"{tenant}/webhook", {"url": "https://hooks.invalid/x"}),
        "limits": ("PATCH", f"{tenant}/limits", {"cameras": 5, "share": 1.0}),
        "key": ("POST", "/v1/keys", {"tenant": target.tenant, "scope": "tenant", "label": "x"}),
    }


def route_case(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Case:
    """Paths and methods that there are not, and readers' parameters."""
    choice = random.random()
    if choice < 0.15:
        path, names = random.choice(ENDLESS)
        path = path.format(camera=target.victim) + _query(random, names)
        sent = request("GET", path, (), None, target, target.key)
        return Case(index, "route", path[:60], (Piece(sent),), Due.HEAD, "GET")
    if choice < 0.5:
        path, names = random.choice(READ)
        path, method = path + _query(random, names), "GET"
    else:
        method = random.choice(METHODS)
        path = "/" + "/".join(random.choice(PARTS) for _ in range(random.randint(1, 6)))
        if random.random() < 0.3:
            path = f"/v1/clients/{quote(text(random), safe='', errors='surrogatepass')}" + random.choice(
                ("", "/segments/1", "/promise")
            )
    sent = request(method, path, (), None if method == "GET" else b"", target, target.key)
    known = method in METHODS[:7] and "%zz" not in path
    return Case(
        index, "route", f"{method} {path}"[:60], (Piece(sent),), Due.ANSWER if known else Due.ANYTHING, method
    )


def segment_path(index: int, target: Target) -> str:
    """The way of a good segment; the case's index is its number, which rises by camera."""
    query = urlencode({"configuration": target.configuration, "bundle": target.bundle})
    return f"/v1/clients/{target.camera}/segments/{index}?{query}"


def _query(random: Random, names: Sequence[str]) -> str:
    pairs = [(random.choice(names), text(random)) for _ in range(random.choice((1, 1, 2)))]
    return "?" + urlencode(pairs, errors="surrogatepass")
