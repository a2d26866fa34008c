"""Candidates: models that are trained on published datasets and label no drive before they are judged."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from autolabel.models import Model, Training
from autolabel_cli.datasets.sources import Source as Dataset
from autolabel_cli.errors import CommandError
from autolabel_cli.models.bringing import bring_source
from autolabel_cli.models.catalogue import find_revision, read_index, revisions_of
from autolabel_cli.models.sources import Source
from autolabel_cli.models.stacks import ModelStack
from autolabel_cli.stack import Stack
from autolabel_cli.training.jobs import Instance, Tell, await_job, read_classes, start_job
from autolabel_cli.training.samples import collect_samples

# SageMaker's limit for the name of a training job, without the number of an attempt.
_MAX_NAME = 60
_DIGEST = 12


class Candidate(NamedTuple):
    """Result of a training. `model`: the candidate, None while its job runs. `outcome`: started, added or already."""

    job: str
    model: Model | None
    outcome: str
    frames: int


class Recipe(NamedTuple):
    """How a candidate is trained: the model that it begins from, the program's image, its settings and its data."""

    start: str
    image: str
    hyperparameters: Mapping[str, str]
    instance: Instance
    scripted: bool


def train_candidate(
    stack: Stack, name: str, recipe: Recipe, datasets: Sequence[Dataset], *, wait: bool, again: bool, tell: Tell
) -> Candidate:
    """Train a candidate on published datasets, deploy it, and add it to the catalogue as a model that is not active.

    The same request finds its job and its candidate again. Without `wait`, it ends when the job has started.
    `recipe.start`: NAME or NAME.REVISION. CommandError when something is refused.
    """
    index = read_index(stack)
    if name in index.active:
        raise CommandError(f"model {name} labels new drives, so it cannot be a candidate: choose another name for it")
    start = find_revision(stack, recipe.start)
    if start.purpose != "labels":
        raise CommandError(f"{start.id} finds what views cover, and cannot be trained: name a model of labels")
    asked = find_revision(stack, start.answers_id)
    former = ModelStack(stack, asked.endpoint).former(asked.name)
    if former is None:
        raise CommandError(
            f"CloudFormation has no stack of {asked.id}, so its image and artefact are not known: add the model with "
            "autolabel models add --image"
        )
    hyperparameters = {**recipe.hyperparameters, "classes": json.dumps(start.classes, sort_keys=True)}
    samples = collect_samples(stack, datasets, scripted=recipe.scripted)
    with samples.labels:
        said = [stack.name, start.id, recipe.image, sorted(hyperparameters.items()), samples.digest]
        digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:_DIGEST]
        job = _job_name(stack.name, name, digest)
        frames = sum(dataset.frames for dataset in samples.datasets)
        # The documents of a removed candidate stay, and its endpoint does not.
        for known in revisions_of(stack, name) if name in index.models else ():
            if known.training and re.fullmatch(re.escape(job) + r"(-\d+)?", known.training.job):
                return Candidate(known.training.job, known, "already", frames)
        job = start_job(
            stack,
            job,
            recipe.image,
            hyperparameters,
            samples,
            former.parameters.get("ModelData", ""),
            recipe.instance,
            again=again,
        )
    if not wait:
        return Candidate(job, None, "started", frames)
    artefact = await_job(stack, job, tell)
    draft = msgspec.structs.replace(
        start,
        name=name,
        classes=read_classes(stack, artefact),
        # The boxes and scores are other ones.
        calibration={},
        answers_of="",
        network=start.view_of,
        training=Training(job, start.id, samples.datasets),
    )
    source = Source(former.parameters["Image"], artefact, environment=_environment(former.template))
    chosen = ("InstanceType", "MinInstances", "MaxInstances", "MaxConcurrentInvocations", "NetworkIsolation")
    parameters = {each: former.parameters[each] for each in chosen if each in former.parameters}
    brought = bring_source(stack, draft, source, parameters=parameters, active=False, tell=tell)
    return Candidate(job, brought.model, brought.outcome, frames)


def _job_name(stack: str, name: str, digest: str) -> str:
    return f"{stack[: _MAX_NAME - len(name) - _DIGEST - 2].rstrip('-')}-{name}-{digest}"


def _environment(template: str) -> dict[str, str]:
    """Return the variables of the container in a model's stack; templates of models are deployed as JSON."""
    container = json.loads(template)["Resources"]["Model"]["Properties"]["PrimaryContainer"]
    return dict(container.get("Environment", {}))
