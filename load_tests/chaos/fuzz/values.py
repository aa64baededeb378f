"""Values that no field expects."""

from __future__ import annotations

import json
from random import Random
from typing import Any

NUMBERS = (
    "-1", "0", "-0", "1", "89", "90", "2147483648", "4294967296", "9007199254740991", "9007199254740992",
    "18446744073709551616", "1" + "0" * 400, "1e308", "1e309", "-1e309", "1e-400", "nan", "inf", "-inf",
    "0x10", "1_000", "٣", "1.5", ".5", "5.", "+5", "--5", "1e", "0b1", "²",
)  # fmt: skip
TEXTS = (
    "", " ", "null", "true", "[]", "{}", "\0", "a\0b", "\r\nX: y", "..", "../../etc/passwd", "%00",
    "%2e%2e%2f",
    "' or 1=1 --", "{{7*7}}", "${jndi:ldap://x}", "<script>", "\ud800", "\ufeff", "\u202e",
    "👩‍👩‍👧", "é" * 300,
    "a" * 129, "a" * 10_000, "\t", "*", "?", "{0}", "%s%s%n", ":", "1:2,3:4", "0:0", "-1:0",
    "1:1," * 500 + "1:1",
    "last", "all", "none", "AAAA", "=" * 16, "2026-13", "2026-02-31", "0-0", "999999999999999-1",
)  # fmt: skip
DEEP = (10, 100, 1000, 20_000)


def text(random: Random) -> str:
    """A string that a parameter, a header or a field may choke on."""
    choice = random.random()
    if choice < 0.4:
        return random.choice(NUMBERS)
    if choice < 0.85:
        return random.choice(TEXTS)
    return "".join(chr(random.choice((random.randrange(256), random.randrange(0x3000)))) for _ in range(20))


def node(random: Random) -> Any:
    """A JSON value of any type."""
    return random.choice(
        (
            None, True, False, 0, -1, 10**400, 2**53, 1e308, float("nan"), float("inf"), [], {},
            [[]], {"": None},
            [None] * 1000, {str(i): i for i in range(200)}, text(random), text(random), text(random),
        )
    )  # fmt: skip


def damaged_json(random: Random, document: Any) -> tuple[bytes, str]:
    """A JSON document with a fault: in its structure, or in its bytes."""
    name = random.choice(("value", "value", "value", "added", "removed", "nested", "bytes", "cut", "coding"))
    if name in ("value", "added", "removed"):
        return _dumped(_changed(random, document, name)), name
    if name == "nested":
        depth = random.choice(DEEP)
        opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
        return (opening * depth + "1" + closing * random.choice((depth, 0))).encode(), name
    raw = _dumped(document)
    if name == "bytes":
        damaged = bytearray(raw)
        for _ in range(random.choice((1, 2, 8))):
            damaged[random.randrange(len(raw))] = random.randrange(256)
        return bytes(damaged), name
    if name == "cut":
        return raw[: random.randrange(len(raw) + 1)], name
    text_form = raw.decode()
    return random.choice(
        (
            text_form.encode("utf-16"), text_form.encode("utf-32"), b"\xef\xbb\xbf" + raw,
            b"\xff\xfe" + raw,
            b"\0" + raw, raw * 2, b" " * 70_000 + raw, raw.replace(b"{", b'{"a":1,"a":2,', 1),
            raw.replace(b'"', b"'"), b"", b'"' + b"\\ud800" + b'"',
        )
    ), name  # fmt: skip


def _dumped(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _changed(random: Random, document: Any, how: str) -> Any:
    """A copy with one value replaced, added or removed, at any depth."""
    if isinstance(document, dict) and document:
        copy = dict(document)
        name = random.choice(list(copy))
        if isinstance(copy[name], dict) and copy[name] and random.random() < 0.7:
            copy[name] = _changed(random, copy[name], how)
        elif how == "removed":
            del copy[name]
        elif how == "added":
            copy[random.choice((text(random), "admin", "__proto__", "tenant", "id"))] = node(random)
        else:
            copy[name] = node(random)
        return copy
    return node(random)
