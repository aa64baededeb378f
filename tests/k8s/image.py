"""Executes a Dockerfile's steps without a container engine: each stage is a Debian tree made by debootstrap,
and each RUN a chroot in namespaces of its own. Only the instructions that the Dockerfile uses are known."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import string
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

MIRROR = "http://deb.debian.org/debian"
SHOWN = [Path(path) for path in os.environ.get("PENANCE_IMAGE_MOUNTS", "").split(":") if path]
"""Paths of this machine that the steps see too, such as pip's settings and a folder of wheels."""


def enter(root: Path, command: list[str], *, user: str, as_deployed: bool = False) -> list[str]:
    """A command that runs another in `root`, in mount and process namespaces that end with it. `as_deployed`:
    on a root that cannot be written but for /tmp and /var/lib/penance, and on a network of its own."""
    tree = shlex.quote(str(root))
    script = ["set -e", f"mount --bind {tree} {tree}"]
    for path in [Path("/etc/resolv.conf"), Path("/etc/hosts"), *SHOWN]:
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        script.append(f"mount --bind {shlex.quote(str(path))} {shlex.quote(str(target))}")
    if as_deployed:
        script += [
            "ip link set lo up",
            f"mount -o remount,ro,bind {tree}",
            f"mount -t tmpfs -o mode=1777 tmpfs {tree}/tmp",
            f"mount -t tmpfs -o mode=700,uid=1000,gid=1000 tmpfs {tree}/var/lib/penance",
        ]
    script += [f"mount -t proc proc {tree}/proc", f"mount --rbind /dev {tree}/dev"]
    script.append("exec " + shlex.join(["chroot", f"--userspec={user}", str(root), *command]))
    own = ["--mount", "--pid", *(["--net"] if as_deployed else [])]
    return ["unshare", *own, "--fork", "--kill-child", "sh", "-c", "\n".join(script)]


@dataclass
class Stage:
    """One `FROM`: its tree and what its instructions set."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    workdir: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)

    def process_environment(self) -> dict[str, str]:
        """What a process of this stage finds set; pip's and proxies' settings are this machine's."""
        inherited = {
            k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")
        }
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"} | inherited | self.environment

    def run(self, line: str) -> None:
        """Raises `subprocess.CalledProcessError` for a step that fails, its output printed."""
        step = [*self.shell, f"cd {shlex.quote(self.workdir)}\n{line}"]
        environment = self.process_environment() | self.arguments
        subprocess.run(
            enter(self.root, step, user=self.user), env=environment, stdin=subprocess.DEVNULL, check=True
        )

    def copy(self, line: str, context: Path, stages: dict[str, Stage]) -> None:
        *sources, target = shlex.split(line)
        origin = context
        if sources[0].startswith("--from="):
            origin = stages[sources.pop(0).removeprefix("--from=")].root
        for source in sources:
            path = origin / source.lstrip("/")
            destination = self.root / Path(self.workdir, target).relative_to("/")
            if path.is_dir():
                shutil.copytree(
                    path,
                    destination,
                    symlinks=True,
                    dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
            else:
                shutil.copy2(path, destination / path.name if target.endswith("/") else destination)


def debian(root: Path, image: str) -> None:
    """A minimal tree of the suite that a `debian:` image names."""
    suite = re.match(r"debian:([a-z]+)", image)
    assert suite is not None, f"{image} is no Debian"
    subprocess.run(["debootstrap", "--variant=minbase", suite[1], str(root), MIRROR], check=True)


def build(dockerfile: Path, folder: Path) -> Stage:
    """Executes every instruction; returns the last stage. Stages' trees stay in `folder`."""
    parsed = DockerfileParser(path=str(dockerfile))
    base, defaults, stages = folder / "base", {}, dict[str, Stage]()
    stage: Stage | None = None
    for step in parsed.structure:
        name, value = step["instruction"], step["value"]
        if name == "COMMENT":
            continue
        if name == "ARG" and stage is None:
            key, _, default = value.partition("=")
            defaults[key] = default
        elif name == "FROM":
            image, alias = re.fullmatch(r"(\S+) AS (\S+)", value).groups()  # type: ignore[union-attr]
            if not base.exists():
                debian(base, defaults.get(image.strip("${}"), image))
            subprocess.run(["cp", "-a", str(base), str(folder / alias)], check=True)
            stage = stages[alias] = Stage(folder / alias)
        else:
            assert stage is not None, f"{name} before FROM"
            execute(stage, name, value, dockerfile.parent, stages)
    assert stage is not None, "no FROM"
    return stage


def execute(stage: Stage, name: str, value: str, context: Path, stages: dict[str, Stage]) -> None:
    match name:
        case "SHELL":
            stage.shell = json.loads(value)
        case "ENV":
            known = stage.process_environment()
            for pair in shlex.split(value):
                key, _, text = pair.partition("=")
                stage.environment[key] = string.Template(text).substitute(known)
        case "ARG":
            key, _, default = value.partition("=")
            stage.arguments[key] = default
        case "WORKDIR":
            stage.workdir = value
            (stage.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "COPY":
            stage.copy(value, context, stages)
        case "RUN":
            stage.run(value)
        case "USER":
            stage.user = value
        case "CMD":
            stage.command = json.loads(value)
        case "EXPOSE":
            pass
        case _:
            raise NotImplementedError(f"{name} {value}")
