"""A terminal in which a user with limited permissions runs the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.e2e.pipeline import Pipeline
from tools.demo.deployment import PROJECT


@dataclass(frozen=True)
class Terminal:
    """A terminal with the keys of a user in its environment."""

    environment: dict[str, str]

    def give(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "autolabel_cli", *words],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def say(self, *words: str) -> str:
        """Run a command that must succeed; returns its output."""
        ended = self.give(*words)
        assert ended.returncode == 0, f"{words} ended with {ended.returncode}: {ended.stderr or ended.stdout}"
        assert ended.stderr == ""
        return ended.stdout

    def ask(self, *words: str) -> dict[str, Any]:
        """Run a command that must succeed, with --json; returns its output."""
        said: dict[str, Any] = json.loads(self.say(*words, "--json"))
        return said

    def refused(self, *words: str) -> str:
        """Run a command that must fail; returns its error."""
        ended = self.give(*words)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "Traceback" not in ended.stderr
        return ended.stderr


def terminal_of_user(pipeline: Pipeline, name: str, permissions: Sequence[str]) -> Terminal:
    """Create a user with these permissions; returns their terminal."""
    iam = pipeline.cloud.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=allowing(*permissions))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return Terminal({**pipeline.cloud.environment(), **keys, "COLUMNS": "160", "PYTHONFAULTHANDLER": "1"})


def allowing(*permissions: str) -> str:
    """A policy document that allows these permissions on everything."""
    statement = {"Effect": "Allow", "Action": permissions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def documented_permissions(heading: str) -> list[str]:
    """The permissions in a section of docs/operators/permissions.md."""
    manual = (PROJECT / "docs" / "operators" / "permissions.md").read_text()
    section = manual.split(f"## {heading}")[1].split("\n## ")[0]
    return sorted(set(re.findall(r"`([\w-]+:\w+)`", section)))
