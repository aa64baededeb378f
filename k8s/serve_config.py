"""Writes each overlay's `serve.yaml`: what `serve build` makes of the application under that overlay's
`serving.yaml`, as the RayService's `serveConfigV2`. Run it after a change of either: `make manifests`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

OVERLAYS = Path(__file__).parent / "overlays"


class _Block(str):
    """Text that YAML writes as a block, line by line."""


yaml.SafeDumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def serve_config(serving_file: Path) -> str:
    """What `serve build` says of the application with this file's options, on a Redis of its own.
    Raises `subprocess.CalledProcessError` where the options are not valid; its stderr says why."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as output:
        subprocess.run(
            [Path(sys.executable).with_name("serve"), "build", "serving.app", "--output-path", output.name],
            env={
                **os.environ,
                "PENANCE_SERVING_FILE": str(serving_file.resolve()),
                "REDIS_URL": "redis://penance-redis:6379/0",
            },
            check=True,
            capture_output=True,
        )
        config = yaml.safe_load(Path(output.name).read_text(encoding="utf-8"))
    config["applications"][0]["name"] = "penance"
    text: str = yaml.safe_dump(config, sort_keys=False)
    return text


def patch(serving_file: Path) -> str:
    """The overlay's `serve.yaml`."""
    service = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "penance"},
        "spec": {"serveConfigV2": _Block(serve_config(serving_file))},
    }
    return "# Made by `make manifests` from serving.yaml.\n" + yaml.safe_dump(service, sort_keys=False)


if __name__ == "__main__":
    for serving_file in sorted(OVERLAYS.glob("*/serving.yaml")):
        print(serving_file.parent.name, "...")
        serving_file.with_name("serve.yaml").write_text(patch(serving_file), encoding="utf-8")
