"""Restoring a revision's own endpoint: deploys it again from what the catalogue and CloudFormation know of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from autolabel.aws import SageMakerEndpointStates
from autolabel.models import Model
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import find_revision
from autolabel_cli.models.stacks import ModelStack
from autolabel_cli.stack import Stack


class Restored(NamedTuple):
    """Result of a restoration."""

    model: Model
    endpoint: str


def restore_model(stack: Stack, name: str, *, tell: Callable[[str], None]) -> Restored:
    """Deploy the missing endpoint of a revision again, under its own name; the catalogue stays as it is.

    `name`: a model, or a revision as `name@revision` or `name.revision`. `tell(text)` gets the progress. CommandError
    when the endpoint exists, when CloudFormation no longer knows its stack, and when its artefact is gone.
    """
    model = find_revision(stack, name.replace("@", "."))
    state = SageMakerEndpointStates(stack.client("sagemaker")).state(model.endpoint)
    if state != "missing":
        instead = "" if state == "InService" else "; if it does not come into service, delete it and give this again"
        raise CommandError(f"endpoint {model.endpoint} of {model.id} exists and is {state}{instead}")
    deployed = ModelStack(stack, model.endpoint)
    former = deployed.former(model.name)
    again = f"add the model as a new revision (autolabel models add {model.name}) and relabel its drives"
    if former is None:
        raise CommandError(
            f"endpoint {model.endpoint} of {model.id} cannot be restored, because CloudFormation has no stack of this "
            "name and model, not even among those deleted in the last 90 days: if you made the endpoint yourself, make "
            f"it again under its name; otherwise {again}"
        )
    artefact, ours = former.parameters.get("ModelData", ""), stack.labels.uri("")
    if artefact.startswith(ours) and not stack.labels.exists(artefact.removeprefix(ours)):
        raise CommandError(
            f"endpoint {model.endpoint} of {model.id} cannot be restored, because its artefact {artefact} is gone: "
            f"restore an earlier version of that object, or {again}"
        )
    deployed.restore(former, tell)
    return Restored(model, model.endpoint)
