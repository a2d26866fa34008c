"""The functions of the stack, wired as `functions/*/app.py` wire them: the domain over the real adapters."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from autolabel.aws.announcements import AwsAnnouncements
from autolabel.aws.bucket import S3Bucket
from autolabel.aws.endpoints import SageMakerEndpoints
from autolabel.aws.executions import StepFunctionsExecutions, StepFunctionsExtractions
from autolabel.aws.ledger import DynamoLedger
from autolabel.aws.queue import SqsSubmitQueue
from autolabel.drives.closing import Closing
from autolabel.drives.drive_logs import DriveLogs
from autolabel.inference.completion import Completion, wake_if_done
from autolabel.inference.reconcile_pass import PassProgress, PassReport, ReconcilePasses, await_answers
from autolabel.inference.reconciliation import Limits
from autolabel.inference.submission import Submission, read_message
from autolabel.models.catalogue import Catalogue
from tests.fakes.answers import DETECTOR, add_to_catalogue
from tests.fakes.bucket import FakeBucket
from tests.fakes.endpoints import FakeEndpoints
from tools.prove.replay import Tape, client

INGEST = "ingest"
LABELS = "labels"
RUN = "0001"
MAX_ERRORS = 2
MAX_ANSWER_WAIT = 86_400.0


class Code(msgspec.Struct, frozen=True):
    """The parts of the product that a mutation may replace."""

    ledger: Callable[..., DynamoLedger] = DynamoLedger
    completion: Callable[..., Completion] = Completion
    wake_if_done: Callable[..., int] = wake_if_done
    await_answers: Callable[..., bool] = await_answers


PRODUCTION = Code()


def _catalogue() -> Catalogue:
    labels = FakeBucket(LABELS)
    add_to_catalogue(labels, DETECTOR)
    return Catalogue(labels.read, lambda: 0.0)


# The catalogue never changes here, so reading it is not a step.
CATALOGUE = _catalogue()
# They accept requests in every state.
ENDPOINTS = FakeEndpoints(FakeBucket(LABELS))


class Functions:
    """The functions of the stack. Each gets the tape that answers its calls, and its argument."""

    def __init__(self, limits: Limits, code: Code) -> None:
        self._limits = limits
        self._code = code

    def submit(self, tape: Tape, message: tuple[str, bool]) -> None:
        """Take a message; with True, it came before."""
        body, again = message
        for asked in read_message(body):
            self._submission(tape).take(asked, again=again)

    def _submission(self, tape: Tape) -> Submission:
        ingest, labels = S3Bucket(client(tape, "s3"), INGEST), S3Bucket(client(tape, "s3"), LABELS)
        ledger, executions = self._ledger(tape), _executions(tape)
        announcements = AwsAnnouncements(sns=client(tape, "sns"), topic="ops")
        closing = Closing(
            ingest=ingest,
            label_bucket=labels,
            ledger=ledger,
            catalogue=CATALOGUE,
            executions=executions,
            announcements=announcements,
            job_labels=("car",),
            privacy=False,
            now=lambda: _now(tape),
        )
        return Submission(
            ingest=ingest,
            label_bucket=labels,
            ledger=ledger,
            catalogue=CATALOGUE,
            endpoints=SageMakerEndpoints(client(tape, "sagemaker")),
            executions=executions,
            closing=closing,
            logs=DriveLogs(
                ingest=ingest,
                ledger=ledger,
                extractions=StepFunctionsExtractions(client(tape, "stepfunctions"), "extract-log"),
                announcements=announcements,
                quiet_after=0.0,
                abandoned_after=0.0,
                now=lambda: _now(tape),
            ),
            privacy=False,
            max_answer_wait=MAX_ANSWER_WAIT,
            now=lambda: _now(tape),
        )

    def collect(self, tape: Tape, bodies: tuple[str, ...]) -> None:
        ledger = self._ledger(tape)
        completion = self._code.completion(
            ledger,
            SqsSubmitQueue(client(tape, "sqs"), "submit"),
            ingest=INGEST,
            labels=LABELS,
            endpoint_of=CATALOGUE.endpoint_of,
            max_errors=MAX_ERRORS,
        )
        completion.begin(bodies)
        drives = {completion.take(body, _now(tape)).drive for body in bodies}
        for drive in sorted(drives - {""}):
            self._code.wake_if_done(drive, ledger, _executions(tape))

    def turn(self, tape: Tape, drive: str) -> PassReport:
        ledger = self._ledger(tape)
        turns = ReconcilePasses(
            ingest=S3Bucket(client(tape, "s3"), INGEST),
            label_bucket=S3Bucket(client(tape, "s3"), LABELS),
            ledger=ledger,
            queue=SqsSubmitQueue(client(tape, "sqs"), "submit"),
            catalogue=CATALOGUE,
            endpoints=ENDPOINTS,
            limits=self._limits,
            frames_patience=0.0,
        )
        return turns.reconcile(ledger.run(drive, RUN), PassProgress(), _now(tape))

    def wait(self, tape: Tape, asked: tuple[str, str]) -> bool:
        drive, token = asked
        ledger = self._ledger(tape)
        run, executions = ledger.run(drive, RUN), _executions(tape)
        return self._code.await_answers(run, token, token[-4:], ledger=ledger, executions=executions)

    def _ledger(self, tape: Tape) -> DynamoLedger:
        return self._code.ledger(client(tape, "dynamodb"), "ledger")


def _executions(tape: Tape) -> StepFunctionsExecutions:
    return StepFunctionsExecutions(client(tape, "stepfunctions"), "machine")


def _now(tape: Tape) -> float:
    return float(tape.ask("clock", "now", {}))
