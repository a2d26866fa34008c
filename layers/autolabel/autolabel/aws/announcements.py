"""Sends announcements: to the ops topic on SNS and to the default bus of EventBridge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from autolabel.contracts.errors import Unavailable, printable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sns import SNSClient

SOURCE = "autolabel"
# SNS allows 100 characters of printable ASCII in a subject.
_SUBJECT = 100


class AwsAnnouncements:
    """Implements `Announcements` on SNS and EventBridge; a function that does not use one may leave it out."""

    def __init__(
        self, *, sns: SNSClient | None = None, topic: str = "", events: EventBridgeClient | None = None
    ) -> None:
        self._sns = sns
        self._topic = topic
        self._events = events

    def tell_ops(self, subject: str, message: str) -> None:
        if self._sns is not None:
            shown = printable(subject).encode("ascii", "replace").decode()[:_SUBJECT]
            self._sns.publish(TopicArn=self._topic, Subject=shown, Message=printable(message))

    def subscribers(self) -> int:
        """Count the confirmed subscriptions of the ops topic."""
        if self._sns is None:
            return 0
        return int(self._sns.get_topic_attributes(TopicArn=self._topic)["Attributes"]["SubscriptionsConfirmed"])

    def publish(self, kind: str, detail: dict[str, object]) -> None:
        if self._events is None:
            return
        response = self._events.put_events(
            Entries=[{"Source": SOURCE, "DetailType": kind, "Detail": json.dumps(detail)}]
        )
        if response["FailedEntryCount"]:
            raise Unavailable(f"the event bus did not take {kind}: {response['Entries']}")
