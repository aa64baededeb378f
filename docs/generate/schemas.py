"""JSON schemas, as pydantic and OpenAPI write them, as tables."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]
_BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("exclusiveMaximum", "< {}"),
    ("multipleOf", "multiple of {}"),
    ("minLength", "length ≥ {}"),
    ("maxLength", "length ≤ {}"),
    ("minItems", "entries ≥ {}"),
    ("maxItems", "entries ≤ {}"),
    ("pattern", "`{}`"),
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. Columns without any content are left out; cells may hold anything."""
    kept = [i for i in range(len(head)) if i == 0 or any(row[i] for row in rows)]
    lines = [[head[i] for i in kept], ["---"] * len(kept), *([cell(row[i]) for i in kept] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def cell(text: str) -> str:
    """Text that a table's cell can hold."""
    return " ".join(text.split()).replace("|", r"\|")


def code(value: object) -> str:
    """A value as JSON writes it, strings without their quotes."""
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def anchor(name: str) -> str:
    """The anchor of a heading, as Python-Markdown's `toc` makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", name).strip().lower())


def type_of(schema: Schema) -> str:
    """What a value may be, with links to the tables of models."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{anchor(name)})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_of(part) for part in schema[key]))
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(type_of(part) for part in schema['prefixItems'])}]"
        return f"list of {type_of(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {type_of(schema['additionalProperties'])}"
    kind: str = schema.get("type", "any")
    return {"binary": "bytes", "path": "path"}.get(schema.get("format", ""), kind)


def bounds_of(schema: Schema) -> str:
    """What else a value must be."""
    if "prefixItems" in schema:
        return ""
    found = [text.format(_plain(schema[key])) for key, text in _BOUNDS if key in schema]
    for key in ("anyOf", "oneOf", "allOf"):
        found += [bounds for part in schema.get(key, ()) if (bounds := bounds_of(part))]
    if isinstance(schema.get("items"), dict) and (bounds := bounds_of(schema["items"])):
        found.append(f"each {bounds}")
    return ", ".join(dict.fromkeys(found))


def model_table(schema: Schema) -> str:
    """The fields of one model."""
    required = set(schema.get("required", ()))
    rows = [
        (
            f"`{name}`",
            type_of(field),
            "required" if name in required else code(field["default"]) if "default" in field else "",
            field.get("description", ""),
            bounds_of(field),
        )
        for name, field in schema.get("properties", {}).items()
    ]
    return table(("field", "type", "default", "meaning", "bounds"), rows) if rows else ""


def model_text(schema: Schema) -> str:
    """What a model is for, and its fields."""
    text = f"{schema.get('description', '')}\n\n"
    if "enum" in schema:
        text += f"{type_of(schema)}\n\n"
    return text + model_table(schema)


def model_section(name: str, schema: Schema, level: int, example: bool = False) -> str:
    """The same under a heading and, if wanted, with an example."""
    text = f"{'#' * level} {name}\n\n{model_text(schema)}"
    if example and schema.get("examples"):
        text += f"```json\n{json.dumps(schema['examples'][0], indent=1, ensure_ascii=False)}\n```\n\n"
    return text


def _plain(value: object) -> str:
    """Numbers as people write them: 1, not 1.0."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
