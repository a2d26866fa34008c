"""Private work teams: names that labelling jobs refer to. Their members have no effect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from local.sagemaker.errors import ResourceInUse, ValidationFailed
from local.sagemaker.names import ACCOUNT, REGION
from local.sagemaker.registry import Registry, list_page
from local.sagemaker.supported import refuse_unsupported

_FIRST = "autolabel"


class Workteams:
    """The account's private work teams; one called `autolabel` exists from the start.

    `portal`: the address where they work, empty without a worker portal.
    """

    def __init__(self) -> None:
        self.portal = ""
        self._teams: Registry[dict[str, Any]] = Registry()
        members = {"UserPool": "us-east-1_embedded", "UserGroup": "annotators", "ClientId": "embedded"}
        self.create(
            {
                "WorkteamName": _FIRST,
                "Description": "The embedded cloud's annotators",
                "MemberDefinitions": [{"CognitoMemberDefinition": members}],
            }
        )

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateWorkteam."""
        refuse_unsupported("CreateWorkteam", request)
        name = request["WorkteamName"]
        team_arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:workteam/private-crowd/{name}"
        now = time.time()
        record = {k: v for k, v in request.items() if k != "Tags"} | {
            "WorkteamArn": team_arn,
            "CreateDate": now,
            "LastUpdatedDate": now,
        }
        self._teams.add(name, record, taken=ResourceInUse(f"Workteam {name} already exists."))
        return {"WorkteamArn": team_arn}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeWorkteam."""
        name = request["WorkteamName"]
        team = self._teams.get(name, missing=_missing(name))
        # On AWS this is a host, which answers by https alone; the portal here does not.
        return {"Workteam": {**team, **({"SubDomain": self.portal} if self.portal else {})}}

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteWorkteam."""
        name = request["WorkteamName"]
        self._teams.pop(name, missing=_missing(name))
        return {"Success": True}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListWorkteams."""
        teams = [{**team, "CreationTime": team["CreateDate"]} for team in self._teams]
        page = list_page(
            teams, request, result="Workteams", name="WorkteamName", sort_keys={"CreateDate": "CreateDate"}
        )
        for team in page["Workteams"]:
            del team["CreationTime"]
        return page

    def arns(self) -> set[str]:
        """Return the ARNs of all teams."""
        return {team["WorkteamArn"] for team in self._teams}


def _missing(name: str) -> ValidationFailed:
    return ValidationFailed(f"Workteam {name} does not exist.")
