"""Makes the adapters of a function from its settings, each on first use."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from autolabel.aws.announcements import AwsAnnouncements
from autolabel.aws.bucket import S3Bucket
from autolabel.aws.clients import client
from autolabel.aws.deliveries import Deliveries
from autolabel.aws.endpoints import SageMakerEndpoints, SageMakerEndpointStates
from autolabel.aws.executions import StepFunctionsExecutions
from autolabel.aws.ledger import DynamoLedger
from autolabel.aws.queue import SqsSubmitQueue


class Adapters:
    """The adapters of one function. `settings`: the function's own, with the fields that its adapters read."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    @cached_property
    def ingest(self) -> S3Bucket:
        """The bucket of drives; reads `ingest_bucket`."""
        return S3Bucket(client("s3"), self._settings.ingest_bucket)

    @cached_property
    def labels(self) -> S3Bucket:
        """The label bucket; reads `label_bucket`."""
        return S3Bucket(client("s3"), self._settings.label_bucket)

    @cached_property
    def ledger(self) -> DynamoLedger:
        """The ledger; reads `ledger_table`."""
        return DynamoLedger(client("dynamodb"), self._settings.ledger_table)

    @cached_property
    def submit_queue(self) -> SqsSubmitQueue:
        """The queue that feeds the submit function; reads `submit_queue_url`."""
        return SqsSubmitQueue(client("sqs"), self._settings.submit_queue_url)

    @cached_property
    def endpoints(self) -> SageMakerEndpoints:
        """The models' endpoints."""
        # A message whose endpoint fails goes back to the queue and waits there, so the client tries only twice.
        return SageMakerEndpoints(client("sagemaker-runtime", attempts=2))

    @cached_property
    def endpoint_states(self) -> SageMakerEndpointStates:
        """The states of the models' endpoints."""
        return SageMakerEndpointStates(client("sagemaker"))

    @cached_property
    def executions(self) -> StepFunctionsExecutions:
        """The executions of runs; reads `state_machine_arn`."""
        return StepFunctionsExecutions(client("stepfunctions"), self._settings.state_machine_arn)

    @cached_property
    def operators(self) -> AwsAnnouncements:
        """Announcements to operators only; reads `ops_topic_arn`."""
        return AwsAnnouncements(sns=client("sns"), topic=self._settings.ops_topic_arn)

    @cached_property
    def announcements(self) -> AwsAnnouncements:
        """Announcements to operators and the event bus; reads `ops_topic_arn`."""
        return AwsAnnouncements(sns=client("sns"), topic=self._settings.ops_topic_arn, events=client("events"))

    def deliveries(self, queue_url: str) -> Deliveries:
        """The messages of a queue; reads `dead_letters_url`, `first_wait` and `bury_after`."""
        return Deliveries(
            client("sqs"),
            queue_url,
            self._settings.dead_letters_url,
            first_wait=self._settings.first_wait,
            dead_letter_after=self._settings.bury_after,
        )
