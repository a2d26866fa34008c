"""The boot order, which the launcher passes to the server process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local.settings import CloudSettings, SettingsError

BOOT_VARIABLE = "EMBEDDED_CLOUD_BOOT"


@dataclass(frozen=True)
class Boot:
    """Folder, sockets and settings of a server process. The sockets already listen; `portal` may be None."""

    folder: Path
    port: int
    socket: int
    settings: CloudSettings
    portal: int | None = None

    @property
    def kept(self) -> Path:
        """The folder of the state that the cloud keeps."""
        return self.folder / "kept"

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def to_json(self) -> str:
        settings = asdict(self.settings) | {"images": {k: list(v) for k, v in self.settings.images.items()}}
        return json.dumps(asdict(self) | {"folder": str(self.folder), "settings": settings})

    @classmethod
    def from_json(cls, text: str) -> Boot:
        """Read the output of `to_json`; raises SettingsError on anything else."""
        try:
            document: dict[str, Any] = json.loads(text)
            return cls(
                folder=Path(document["folder"]),
                port=int(document["port"]),
                socket=int(document["socket"]),
                settings=CloudSettings(**document["settings"]),
                portal=document["portal"],
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise SettingsError(f"{BOOT_VARIABLE} is not a boot order: {error}") from error
