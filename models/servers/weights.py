"""Reads the weights that packages carry. Only data are taken of these packages; no code of them runs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

NETWORK = "model.onnx"
"""The file of an artefact that holds the network."""


def artefact_folder() -> Path:
    """Return the folder into which the platform has unpacked the model's artefact: /opt/ml/model in a container.

    SAGEMAKER_BASE_DIR names another place than /opt/ml, as in AWS's toolkits for training and inference.
    """
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"


class WeightsMissing(RuntimeError):
    """The weights are not installed, or they are not the expected ones; the message says what to do."""


class Weights(NamedTuple):
    """A file of weights: `path` in the installed `package`, its size in bytes and its sha256.

    `target`: what `make` is given to install it.
    """

    package: str
    path: str
    size: int
    sha256: str
    target: str = "setup"

    def find(self) -> Path:
        """Return the file's path; raises WeightsMissing, also when size or checksum are not the expected ones."""
        found = importlib.util.find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise WeightsMissing(f"the package {self.package} is not installed: run `make {self.target}`")
        path = Path(found.submodule_search_locations[0]) / self.path
        if not path.is_file():
            raise WeightsMissing(
                f"{path} is missing: {self.package} is not the expected version; run `make {self.target}`"
            )
        body = path.read_bytes()
        if len(body) != self.size or hashlib.sha256(body).hexdigest() != self.sha256:
            raise WeightsMissing(f"{path} is not the expected model: it has {len(body)} bytes or another checksum")
        return path
