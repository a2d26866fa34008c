"""Makes the adapters of a function from its settings, each on first use."""

from __future__ import annotations

from functools import cached_property
from typing import Any

# The lazy face: a function that starts imports no adapter that it does not use. All of them use these three, which
# are imported here, because Lambda gives the start of a function more processor time than its first request.
from autolabel import aws
from autolabel.aws.bucket import S3Bucket
from autolabel.aws.clients import client
from autolabel.aws.ledger import DynamoLedger


class Adapters:
    """The adapters of one function. `settings`: the function's own, with the fields that its adapters read."""

    # `Any`: each function has a struct of its own, with the fields of its adapters only; a test compares the two.
    def __init__(self, settings: Any) -> None:
        self._settings = settings

    @cached_property
    def ingest(self) -> S3Bucket:
        """The bucket of drives; reads `ingest_bucket`."""
        return S3Bucket(client("s3"), self._settings.ingest_bucket)

    @cached_property
    def label_bucket(self) -> S3Bucket:
        """The label bucket; reads `label_bucket`."""
        return S3Bucket(client("s3"), self._settings.label_bucket)

    @cached_property
    def ledger(self) -> DynamoLedger:
        """The ledger; reads `ledger_table`."""
        return DynamoLedger(client("dynamodb"), self._settings.ledger_table)

    @cached_property
    def submit_queue(self) -> aws.SqsSubmitQueue:
        """The queue that feeds the submit function; reads `submit_queue_url`."""
        return aws.SqsSubmitQueue(client("sqs"), self._settings.submit_queue_url)

    @cached_property
    def endpoints(self) -> aws.SageMakerEndpoints:
        """The models' endpoints."""
        # The queue waits for an endpoint, so the client tries only twice.
        return aws.SageMakerEndpoints(client("sagemaker-runtime", attempts=2))

    @cached_property
    def endpoint_states(self) -> aws.SageMakerEndpointStates:
        """The states of the models' endpoints."""
        return aws.SageMakerEndpointStates(client("sagemaker"))

    @cached_property
    def labeling_jobs(self) -> aws.SageMakerLabelingJobs:
        """Ground Truth's labelling jobs."""
        return aws.SageMakerLabelingJobs(client("sagemaker"))

    @cached_property
    def executions(self) -> aws.StepFunctionsExecutions:
        """The executions of runs; reads `state_machine_arn`."""
        return aws.StepFunctionsExecutions(client("stepfunctions"), self._settings.state_machine_arn)

    @cached_property
    def extractions(self) -> aws.StepFunctionsExtractions:
        """The extractions of drive logs; reads `extract_machine_arn`."""
        return aws.StepFunctionsExtractions(client("stepfunctions"), self._settings.extract_machine_arn)

    @cached_property
    def operators(self) -> aws.AwsAnnouncements:
        """Announcements to operators only, without the event bus; reads `ops_topic_arn`."""
        return aws.AwsAnnouncements(sns=client("sns"), topic=self._settings.ops_topic_arn)

    @cached_property
    def announcements(self) -> aws.AwsAnnouncements:
        """Announcements to operators and to the event bus; reads `ops_topic_arn`."""
        return aws.AwsAnnouncements(sns=client("sns"), topic=self._settings.ops_topic_arn, events=client("events"))

    def deliveries(self, queue_url: str) -> aws.Deliveries:
        """The messages of a queue; reads `dead_letters_url`, `first_wait` and `bury_after`."""
        return aws.Deliveries(
            client("sqs"),
            queue_url,
            self._settings.dead_letters_url,
            first_wait=self._settings.first_wait,
            dead_letter_after=self._settings.bury_after,
        )
