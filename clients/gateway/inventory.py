"""The inventory of a site: which cameras there are and how each is served. People edit it as YAML.

Credentials never stand in it: it names environment variables or files that hold them. They are read when a
camera is started, so a file that was replaced is in force from then on.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from clients.errors import CameraError
from clients.policy import AUTO, checked_policy
from clients.protocol import DEFAULT_SERVER, NAME_PATTERN, SegmentFormat, TargetMiou
from configs.faults import describe_faults

MAX_CAMERAS = 256
MAX_BYTES = 1024 * 1024

MegabytesPerSecond = Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]


class InventoryError(CameraError):
    """The inventory cannot be used; the message says what is wrong and where."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Part):
    """Where a credential is: an environment variable or a file (relative to the inventory)."""

    env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    file: Path | None = None

    @model_validator(mode="after")
    def _is_one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("give env: NAME or file: PATH, one of them")
        return self

    def read(self, folder: Path) -> str:
        """The credential. Raises `InventoryError`, which names the place and never its content."""
        if self.env is not None:
            found = os.environ.get(self.env, "").strip()
            if not found:
                raise InventoryError(f"the environment variable {self.env} is not set: set it")
            return found
        assert self.file is not None
        path = folder / self.file
        try:
            found = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InventoryError(f"cannot read the credential in {path} ({type(error).__name__})") from error
        if not found:
            raise InventoryError(f"{path} is empty: write the credential into it")
        return found


class Login(_Part):
    """A camera's own login, for its address."""

    user: str = Field(min_length=1, max_length=128)
    password: Secret


class CameraEntry(_Part):
    """One camera: where its video comes from, and how it is served."""

    name: str = Field(min_length=1, max_length=128, pattern=NAME_PATTERN)
    url: str = Field(min_length=1, max_length=2048, description="RTSP or HTTP address, file, webcam or demo:")
    login: Login | None = None
    target_miou: TargetMiou | None = Field(None, description="null: as the server has it")
    policy: str = AUTO
    uplink: MegabytesPerSecond | None = Field(None, description="its own cap; null: its share of the site's")
    pace: Literal["realtime", "server"] = "realtime"
    seconds: float = Field(1.0, ge=0.1, le=10)
    fps: float = Field(15.0, ge=0.1, le=120)
    size: tuple[int, int] = Field((1280, 720), description="width and height that the video is fitted into")
    loop: bool = Field(False, description="whether a file starts anew at its end")
    deadline: float | None = Field(None, ge=0.001, le=600, description="seconds")

    @field_validator("policy")
    @classmethod
    def _is_a_policy(cls, text: str) -> str:
        return checked_policy(text)

    @field_validator("url")
    @classmethod
    def _holds_no_login(cls, url: str) -> str:
        if "://" in url and "@" in urlsplit(url).netloc:
            raise ValueError(
                "the address holds a login: write it as login: {user: ..., password: {env: ...}}"
            )
        return url

    @model_validator(mode="after")
    def _fits_the_protocol(self) -> CameraEntry:
        SegmentFormat(seconds=self.seconds, fps=self.fps, width=self.size[0], height=self.size[1])
        if self.login is not None and "://" not in self.url:
            raise ValueError("a login needs an address (rtsp://, http://, https://)")
        return self

    def source(self, folder: Path) -> str:
        """What `VideoSource` opens, with the login. Raises `InventoryError` for a login that is not there."""
        if "://" not in self.url:
            special = self.url.isdigit() or re.fullmatch(r"demo(:\d*)?", self.url)
            return self.url if special else str(folder / self.url)
        if self.login is None:
            return self.url
        login = f"{quote(self.login.user, safe='')}:{quote(self.login.password.read(folder), safe='')}"
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{login}@{rest}"


class Inventory(_Part):
    """A whole site."""

    server: str = Field(
        DEFAULT_SERVER,
        pattern=r"^https?://[^@\s]+$",
        description="address of the server, or several with commas between them",
    )
    key: Secret | None = Field(None, description="the tenant's key; null: where penance-camera finds it")
    uplink: MegabytesPerSecond | None = Field(None, description="cap of all cameras together")
    cameras: tuple[CameraEntry, ...] = Field(min_length=1, max_length=MAX_CAMERAS)

    @model_validator(mode="after")
    def _is_consistent(self) -> Inventory:
        names = [camera.name for camera in self.cameras]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"camera names must differ; given twice: {', '.join(twice)}")
        own = sum(camera.uplink for camera in self.cameras if camera.uplink is not None)
        sharing = any(camera.uplink is None for camera in self.cameras)
        if self.uplink is not None and (own > self.uplink or (sharing and own == self.uplink)):
            raise ValueError(
                f"the cameras' own uplinks take {own:g} MB/s of the site's {self.uplink:g}"
                + (" and leave nothing to the others" if sharing else "")
            )
        return self

    def shares(self) -> dict[str, float | None]:
        """Each camera's cap in MB/s by name: its own, or an equal part of what those leave of the site's."""
        own = sum(camera.uplink for camera in self.cameras if camera.uplink is not None)
        sharing = sum(camera.uplink is None for camera in self.cameras)
        rest = None if self.uplink is None or not sharing else (self.uplink - own) / sharing
        return {camera.name: rest if camera.uplink is None else camera.uplink for camera in self.cameras}


def load_inventory(path: Path) -> Inventory:
    """Reads an inventory; what `defaults` holds is put into every camera that does not say otherwise. Raises
    `InventoryError`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InventoryError(f"{path} is larger than {MAX_BYTES} bytes: is it an inventory?")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"cannot read the inventory {path} ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        raise InventoryError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return Inventory.model_validate(_with_defaults(content))
    except ValidationError as error:
        raise InventoryError(f"{path}: {describe_faults(error)}") from error


def check_credentials(inventory: Inventory, folder: Path) -> None:
    """Raises `InventoryError` for the first credential that is not where the inventory says."""
    if inventory.key is not None:
        inventory.key.read(folder)
    for camera in inventory.cameras:
        try:
            camera.source(folder)
        except InventoryError as error:
            raise InventoryError(f"camera {camera.name}: {error}") from error


def _with_defaults(content: Any) -> Any:
    """The same with `defaults` in every camera; what is of a wrong shape is left for the models to refuse."""
    if not isinstance(content, dict) or not isinstance(content.get("defaults", {}), dict):
        return content
    cameras = content.get("cameras")
    if not isinstance(cameras, list):
        return content
    defaults = content.get("defaults", {})
    merged = [{**defaults, **camera} if isinstance(camera, dict) else camera for camera in cameras]
    return {**{name: value for name, value in content.items() if name != "defaults"}, "cameras": merged}
