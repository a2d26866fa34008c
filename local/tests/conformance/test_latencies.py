"""Requests take as long as the settings say, and are answered as without them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from local import CloudError, CloudSettings, EmbeddedCloud
from local.settings import SettingsError


def test_requests_to_a_service_wait(tmp_path: Path) -> None:
    with EmbeddedCloud(tmp_path, settings=CloudSettings(latencies={"sqs": 0.2})) as cloud:
        queues, topics = cloud.client("sqs"), cloud.client("sns")
        topics.list_topics()
        began = time.monotonic()
        url = queues.create_queue(QueueName="slow")["QueueUrl"]
        queues.send_message(QueueUrl=url, MessageBody="x")
        waited = time.monotonic() - began
        assert queues.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "x"
        began = time.monotonic()
        topics.list_topics()
        assert waited >= 0.4 > time.monotonic() - began


def test_an_unknown_service_and_a_negative_latency_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="no such service"):
        EmbeddedCloud(tmp_path, settings=CloudSettings(latencies={"carrier-pigeon": 1.0})).start()
    with pytest.raises(SettingsError, match="must not be negative"):
        CloudSettings(latencies={"s3": -1.0})
