"""Settings of the environment and of `configs/serving.yaml`, and metrics with their alerts."""

from __future__ import annotations

from pathlib import Path

import yaml

from configs.settings import SHIPPED_OPTIONS, Settings
from generate.commands import environment_of, programs
from generate.schemas import Schema, bounds_of, cell, code, model_section, table, type_of
from generate.sources import REPOSITORY, fenced
from serving.options import ServingOptions, VariantOptions
from serving.telemetry.catalogue import METRICS

RULES = REPOSITORY / "configs/telemetry/rules.yml"


def environment_page() -> str:
    """Every environment variable: of the settings, and of the commands' options."""
    fields = Settings.model_json_schema(by_alias=False)["properties"]
    rows = [
        (
            ", ".join(f"`{variable}`" for variable in variables_of(name)),
            type_of(fields[name]),
            _default(name),
            fields[name].get("description", ""),
            bounds_of(fields[name]),
        )
        for name in Settings.model_fields
    ]
    text = (
        "# Settings\n\nRead once at start, by the server and by a camera, "
        "from [`configs/settings.py`](../../configs/settings.py).\n\n"
    )
    text += table(("variable", "type", "default", "meaning", "bounds"), rows)
    text += "## Of commands alone\n\nThey stand for an option that is not given.\n\n"
    uses = [
        (f"`{variable}`", f"[`{name}`](commands/{name}.md)", meaning)
        for name, command in programs().items()
        for variable, meaning in environment_of(command).items()
    ]
    return text + table(("variable", "command", "meaning"), uses)


def variables_of(field: str) -> list[str]:
    """Names under which a setting is read from the environment."""
    alias = Settings.model_fields[field].validation_alias
    named = getattr(alias, "choices", None)
    return [str(name) for name in named] if named else [f"PENANCE_{field.upper()}"]


def serving_page() -> str:
    """The sections of `configs/serving.yaml` with types and bounds, and the file as it ships."""
    schema = ServingOptions.model_json_schema()
    models = schema["$defs"] | {"VariantOptions": VariantOptions.model_json_schema()}
    text = (
        "# Serving options\n\nHow each deployment runs: a YAML file of whole sections, named by "
        "`PENANCE_SERVING_FILE`. Sections that it leaves out are as shipped.\n\n"
    )
    sections: Schema = schema["properties"]
    text += table(("section", "type"), [(f"`{name}`", type_of(field)) for name, field in sections.items()])
    text += (
        "`variants.defaults`, and what `variants.overrides` says by a variant's number, are "
        "[VariantOptions](#variantoptions).\n\n"
    )
    for name, model in models.items():
        text += model_section(name, model, 2)
    return text + "## As shipped\n\n" + fenced(SHIPPED_OPTIONS.read_text(encoding="utf-8"), "yaml")


def metrics_page() -> str:
    """The catalogue of metrics, and the alerts that are made of them."""
    text = "# Metrics\n\nWhere they are scraped, what they cost and the promises behind the alerts: "
    text += "[telemetry](../telemetry.md).\n\n"
    text += table(
        ("metric", "kind", "labels", "meaning", "buckets"),
        [
            (
                f"`{metric.exported}`",
                metric.kind,
                ", ".join(metric.labels),
                metric.meaning,
                ", ".join(f"{bucket:g}" for bucket in metric.buckets),
            )
            for metric in METRICS
        ],
    )
    text += "## Alerts\n\nOf [`configs/telemetry/rules.yml`](../../configs/telemetry/rules.yml).\n\n"
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rows = [
        (
            f"`{rule['alert']}`",
            rule["labels"]["severity"],
            rule.get("for", ""),
            rule["annotations"]["description"],
        )
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    ]
    return text + table(("alert", "severity", "for", "meaning"), rows)


def _default(field: str) -> str:
    """The default as it is on any machine."""
    value = Settings.model_fields[field].get_default(call_default_factory=True)
    if value is None:
        return ""
    if isinstance(value, Path):
        for folder, name in ((REPOSITORY, ""), (Path.home(), "~/")):
            if value.is_relative_to(folder):
                return code(f"{name}{value.relative_to(folder)}")
    return cell(code(value if isinstance(value, int | float) else str(value)))
