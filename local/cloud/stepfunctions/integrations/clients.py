"""boto3 clients for executions, with the rights of their state machines' roles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config

from local.settings import REGION

Credentials = Callable[[str], Mapping[str, str]]
"""Maps a role's ARN to AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN."""


class Clients:
    """The clients of one role by service name; without retries, because a state machine has its own."""

    def __init__(self, gateway: str, credentials: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._session = boto3.session.Session(
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=credentials.get("AWS_SESSION_TOKEN") or None,
            region_name=REGION,
        )
        self._config = Config(retries={"total_max_attempts": 1}, max_pool_connections=100, read_timeout=1000)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __getitem__(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(service, endpoint_url=self._gateway, config=self._config)
            return self._clients[service]


class RoleClients:
    """The clients of every role."""

    def __init__(self, gateway: str, credentials: Credentials) -> None:
        self._gateway = gateway
        self._credentials = credentials
        self._by_role: dict[str, Clients] = {}
        self._lock = threading.Lock()

    def of(self, role_arn: str) -> Clients:
        """Return the clients that act as a role."""
        with self._lock:
            if role_arn not in self._by_role:
                self._by_role[role_arn] = Clients(self._gateway, self._credentials(role_arn))
            return self._by_role[role_arn]
