"""The interface over HTTP, from the OpenAPI document that the server gives out at `/openapi.json`."""

from __future__ import annotations

from typing import Any

from generate.schemas import Schema, bounds_of, code, model_section, table, type_of
from serving import problems
from serving.ingress.api import build_api
from serving.ingress.services import Services

METHODS = ("get", "post", "put", "patch", "delete")
PROBLEM = "Problem"


def openapi_document() -> dict[str, Any]:
    """The document, without a running server."""

    async def services() -> Services:
        raise RuntimeError("only described, not served")

    return build_api(services).openapi()


def interface_page(document: dict[str, Any]) -> str:
    """All operations by purpose, the refusals, and the messages."""
    text = f"# HTTP\n\n{document['info']['description']}\n\n"
    text += "The document itself: [openapi.json](openapi.json).\n\n"
    text += "What is a stream or a socket: [results](../results.md).\n\n"
    sections: dict[str, str] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                tag = operation.get("tags", ["other"])[0]
                sections[tag] = sections.get(tag, "") + _operation(method, path, operation)
    for tag, body in sections.items():
        text += f"## {tag.capitalize()}\n\n{body}"
    text += (
        "## Refusals\n\nProblem documents (RFC 9457), `application/problem+json`: [Problem](#problem).\n\n"
    )
    text += table(("status", "type", "title"), _refusals())
    text += "## Messages\n\n"
    for name, schema in document["components"]["schemas"].items():
        if not name.startswith(("HTTPValidationError", "ValidationError")):
            text += model_section(name, schema, 3, example=True)
    return text


def _operation(method: str, path: str, operation: Schema) -> str:
    text = (
        f"### {method.upper()} {path}\n\n**{operation['summary']}.** {operation.get('description', '')}\n\n"
    )
    parameters = [
        (
            f"`{parameter['name']}`",
            parameter["in"],
            type_of(schema := parameter["schema"]),
            "required"
            if parameter.get("required")
            else code(schema["default"])
            if schema.get("default")
            else "",
            parameter.get("description", ""),
            bounds_of(schema),
        )
        for parameter in operation.get("parameters", ())
    ]
    if parameters:
        text += table(("parameter", "in", "type", "default", "meaning", "bounds"), parameters)
    if "requestBody" in operation:
        text += f"Body: {_content(operation['requestBody'])}\n\n"
    answers, refused = [], []
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            answers.append(f"{status}: {_content(response)}" if _content(response) else status)
        else:
            refused.append(status)
    text += f"Answers {'; '.join(answers)}."
    return text + (f" Otherwise {', '.join(sorted(refused))}.\n\n" if refused else "\n\n")


def _content(part: Schema) -> str:
    """Media types and what is in them."""
    return " or ".join(
        f"{type_of(media['schema'])} (`{kind}`)" if media.get("schema") else f"`{kind}`"
        for kind, media in part.get("content", {}).items()
    )


def _refusals() -> list[tuple[str, str, str]]:
    """All of `serving.problems`."""
    kinds = [
        kind
        for kind in vars(problems).values()
        if isinstance(kind, type) and issubclass(kind, problems.RequestProblem)
    ]
    rows = [
        (str(kind.status), f"`{problems.PROBLEM_URN}{kind.slug}`", kind.title)
        for kind in kinds
        if kind is not problems.RequestProblem
    ]
    return sorted(rows)
