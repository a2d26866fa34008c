"""The stack with a fast model in an embedded cloud, for runs that measure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from autolabel_cli.models.catalogue import add_model, read_document
from autolabel_cli.stack import Stack
from local import EmbeddedCloud
from tools.demo.deployment import PROJECT, STACK, deploy_endpoint, deploy_stack

# The template's own defaults, where the demo's are made for few frames.
TEMPLATE_DEFAULTS = {"ShardFrames": "500", "BatchWindowSeconds": "1"}
IMAGE = "stub"
IMAGES = {IMAGE: (sys.executable, "-m", "models.servers.stub", "--port", "{port}")}


def deploy(cloud: EmbeddedCloud, folder: Path, parameters: Mapping[str, str] | None = None) -> Stack:
    """Deploy the stack and the fast model into a cloud with these images; logs go to `folder`/logs."""
    deploy_stack(cloud, folder, parameters)
    stack = Stack.find(STACK, cloud.client)
    model = msgspec.structs.replace(read_document(PROJECT / "models" / "yolox-nano.json", endpoint=IMAGE), name=IMAGE)
    deploy_endpoint(cloud, stack.outputs, endpoint=model.endpoint, image=IMAGE)
    add_model(stack, model)
    return stack
