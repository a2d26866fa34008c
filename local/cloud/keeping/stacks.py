"""Stacks: in the next cloud, CloudFormation knows them as deleted ones, with template, parameters and tags."""

from __future__ import annotations

from typing import Any

from local.cloud import symbols
from local.records import Records
from local.settings import ACCOUNT, REGION, STACK_WENT

_STANDING = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
_INTERNAL = ("_template", "_template_body", "_resolved_params", "_conditions", "_stack_policy", "_region")


class KeptStacks:
    """The stacks that stand or were deleted, as they were at the last look."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._stacks = symbols.find("services.cloudformation", "_stacks")
        self._known: dict[str, tuple[Any, ...]] = {}

    def restore(self) -> None:
        """List the former stacks as deleted; those that stood have STACK_WENT as the reason."""
        for name, stack in self._records.all("stack"):
            if stack["StackStatus"] in _STANDING:
                stack |= {"StackStatus": "DELETE_COMPLETE", "StackStatusReason": STACK_WENT}
            self._stacks.set_scoped(ACCOUNT, REGION, name, stack | {"Outputs": [], "_resources": {}})

    def look(self) -> None:
        """Record the stacks that were created, changed or deleted since the last look."""
        for stack in list(self._stacks.all_values()):
            name, mark = stack["StackName"], (stack["StackId"], stack["StackStatus"], stack.get("LastUpdatedTime"))
            if self._known.get(name) == mark or stack.get("StackStatusReason") == STACK_WENT:
                continue
            self._known[name] = mark
            if stack["StackStatus"] in (*_STANDING, "DELETE_COMPLETE"):
                kept = {k: v for k, v in stack.items() if k in _INTERNAL or not k.startswith("_")}
                self._records.put("stack", "", name, kept)
