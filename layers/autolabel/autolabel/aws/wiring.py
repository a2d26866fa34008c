"""Makes the adapters of a function from its settings, each on first use."""

from __future__ import annotations

from functools import cached_property
from typing import Any

# The lazy face: a function that starts imports no adapter that it does not use.
from autolabel import aws


class Adapters:
    """The adapters of one function. `settings`: the function's own, with the fields that its adapters read."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    @cached_property
    def ingest(self) -> aws.S3Bucket:
        """The bucket of drives; reads `ingest_bucket`."""
        return aws.S3Bucket(aws.client("s3"), self._settings.ingest_bucket)

    @cached_property
    def label_bucket(self) -> aws.S3Bucket:
        """The label bucket; reads `label_bucket`."""
        return aws.S3Bucket(aws.client("s3"), self._settings.label_bucket)

    @cached_property
    def ledger(self) -> aws.DynamoLedger:
        """The ledger; reads `ledger_table`."""
        return aws.DynamoLedger(aws.client("dynamodb"), self._settings.ledger_table)

    @cached_property
    def submit_queue(self) -> aws.SqsSubmitQueue:
        """The queue that feeds the submit function; reads `submit_queue_url`."""
        return aws.SqsSubmitQueue(aws.client("sqs"), self._settings.submit_queue_url)

    @cached_property
    def endpoints(self) -> aws.SageMakerEndpoints:
        """The models' endpoints."""
        # The queue waits for an endpoint, so the client tries only twice.
        return aws.SageMakerEndpoints(aws.client("sagemaker-runtime", attempts=2))

    @cached_property
    def endpoint_states(self) -> aws.SageMakerEndpointStates:
        """The states of the models' endpoints."""
        return aws.SageMakerEndpointStates(aws.client("sagemaker"))

    @cached_property
    def executions(self) -> aws.StepFunctionsExecutions:
        """The executions of runs; reads `state_machine_arn`."""
        return aws.StepFunctionsExecutions(aws.client("stepfunctions"), self._settings.state_machine_arn)

    @cached_property
    def operators(self) -> aws.AwsAnnouncements:
        """The operators alone; reads `ops_topic_arn`."""
        return aws.AwsAnnouncements(sns=aws.client("sns"), topic=self._settings.ops_topic_arn)

    @cached_property
    def announcements(self) -> aws.AwsAnnouncements:
        """The operators and the event bus; reads `ops_topic_arn`."""
        return aws.AwsAnnouncements(
            sns=aws.client("sns"), topic=self._settings.ops_topic_arn, events=aws.client("events")
        )

    def deliveries(self, queue_url: str) -> aws.Deliveries:
        """The messages of a queue; reads `dead_letters_url`, `first_wait` and `bury_after`."""
        return aws.Deliveries(
            aws.client("sqs"),
            queue_url,
            self._settings.dead_letters_url,
            first_wait=self._settings.first_wait,
            dead_letter_after=self._settings.bury_after,
        )
