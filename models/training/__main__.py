"""Trains YOLOX-Nano on labelled frames, as a training container of SageMaker: `python -m models.training`.

It reads the channels `labels` and `frames`, and `start` with the artefact of the model that it begins from; without
that channel it begins from the weights of the server. It writes `model.onnx`, the same network with other numbers in
its last layers, and `classes.json`, the class map of the trained model. A failure is told in /opt/ml/output/failure.

Hyperparameters: `classes` (required), the class map that the model begins from, as a JSON object; `steps`, `batch`,
`rate`, `hold`, `seed`; `views`, the most pictures that are held in memory, 0.9 MB each.
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from models.servers.coco import NAMES
from models.servers.detector import WEIGHTS
from models.servers.weights import NETWORK, WeightsMissing
from models.training.classes import ClassesRefused, channel_of, extend_classes
from models.training.fitting import Settings, fit
from models.training.network import Network, NetworkRefused
from models.training.samples import SamplesRefused, read_samples, views

_Number = TypeVar("_Number", int, float)
_VIEWS = 2_000
_TOLD_EVERY = 50


class HyperparameterRefused(ValueError):
    """A hyperparameter is missing or cannot be read; the message names it."""


# What a user can put right. Everything else is told with its place in the program.
_REFUSALS = (HyperparameterRefused, ClassesRefused, SamplesRefused, NetworkRefused, WeightsMissing)


def train(base: Path, weights: Callable[[], Path] = WEIGHTS.find) -> None:
    """Train in the folders below `base`, which is /opt/ml in a container. `weights`: finds those of the server."""
    asked = json.loads((base / "input" / "config" / "hyperparameters.json").read_text())
    settings = Settings(
        steps=_number(asked, "steps", Settings.steps, int),
        batch=_number(asked, "batch", Settings.batch, int),
        rate=_number(asked, "rate", Settings.rate, float),
        hold=_number(asked, "hold", Settings.hold, float),
        seed=_number(asked, "seed", Settings.seed, int),
    )
    most = _number(asked, "views", _VIEWS, int)
    known = _class_map(asked)
    data, out = base / "input" / "data", base / "model"
    network = Network(_start(data / "start") or weights())
    if network.channels != len(NAMES):
        raise NetworkRefused(f"the network has {network.channels} classes, and its server names {len(NAMES)}")
    samples = read_samples(data / "labels", data / "frames")
    classes = extend_classes(known, (name for sample in samples for name in sample.classes), NAMES)
    began = time.monotonic()
    seen = list(views(network, samples, channel_of(classes, NAMES), most))
    _say(f"{len(samples)} frames, {len(seen)} views, {time.monotonic() - began:.1f} s; classes {classes}")

    def tell(step: int, loss: float) -> None:
        if step % _TOLD_EVERY == 0 or step == settings.steps:
            _say(f"step {step} of {settings.steps}, loss {loss:.3f}, {time.monotonic() - began:.1f} s")

    fitted = fit(network, seen, settings, tell)
    out.mkdir(parents=True, exist_ok=True)
    network.write(fitted, out / NETWORK)
    (out / "classes.json").write_text(json.dumps(classes, indent=2))


def main(base: Path) -> int:
    """Train; return the exit status that tells the platform of success or failure."""
    # The layers are so small that threads would wait for each other.
    torch.set_num_threads(1)
    try:
        train(base)
    # SageMaker shows the file of a failure, so each kind of failure has to be written into it.
    except Exception as e:
        traceback.print_exc()
        reason = str(e) if isinstance(e, _REFUSALS) else f"{type(e).__name__}: {e}"
        failure = base / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(reason)
        return 1
    return 0


def _start(channel: Path) -> Path | None:
    """Unpack the artefact that the job begins from; return its network, or None without the channel."""
    packed = channel / "model.tar.gz"
    if not packed.is_file():
        return None
    try:
        with tarfile.open(packed, "r:gz") as archive:
            archive.extract(NETWORK, channel, filter="data")
    except (tarfile.TarError, KeyError, EOFError, OSError) as e:
        raise NetworkRefused(f"the artefact of the channel start has no {NETWORK} that can be unpacked: {e}") from e
    return channel / NETWORK


def _class_map(asked: Mapping[str, str]) -> dict[str, str]:
    try:
        return {str(name): str(of) for name, of in json.loads(asked["classes"]).items()}
    except (KeyError, ValueError, TypeError, AttributeError) as e:
        raise HyperparameterRefused(f"the hyperparameter classes is not a JSON object of names: {e!r}") from e


def _number(asked: Mapping[str, str], name: str, default: _Number, kind: type[_Number]) -> _Number:
    try:
        value = kind(asked.get(name, default))
    except ValueError as e:
        raise HyperparameterRefused(f"the hyperparameter {name} is not a number: {asked[name]!r}") from e
    # Of these, only `hold` and `seed` may be 0. NaN is not above anything.
    if not (value > 0 or (value == 0 and name in ("hold", "seed"))):
        raise HyperparameterRefused(f"the hyperparameter {name} is not above 0: {asked[name]!r}")
    return value


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))))
