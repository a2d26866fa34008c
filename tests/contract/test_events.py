"""Every function handles its sample events, in the form in which AWS delivers them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from autolabel.aws.settings import SettingsError
from autolabel.contracts.drive import ViewsModel
from autolabel.contracts.errors import RunMissing, VerificationRefused, VerificationUnavailable
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.logs import LogFolder, LogRecord
from autolabel.contracts.ports import PendingUnit, WaitingJob, WaitingRun
from autolabel.contracts.units import Unit
from autolabel.models import model_key
from autolabel.reporting.summary import Summary
from autolabel.verification.label_studio.notifications import HEADER, signature
from autolabel.verification.label_studio.results import Annotation
from tests.contract.account import (
    DOCUMENT,
    DOCUMENT_KEY,
    EVENTS,
    FRAME_KEY,
    MODEL,
    WEBHOOK_URL,
    Account,
    load_module,
    sample,
)
from tests.contract.template import CONNECTION, INGEST, LABELS, ROOT, STATE_MACHINE, allows, functions
from tests.fakes.answers import BLUR, REGIONS
from tests.fakes.answers import answer as answer_of
from tests.fakes.clouds import CAMERA, lidar_drive
from tests.fakes.images import png, png_header
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.logs import drive, mcap_log
from tests.fakes.pipeline import verified

RUN = "labels/drive-7/0001/"
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    account = Account(monkeypatch)
    yield account
    account.leave()


def body(event: dict[str, Any], index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event["Records"][index]["body"])
    return found


def with_body(event: dict[str, Any], text: str) -> dict[str, Any]:
    """Replace the message in an event's first record."""
    return {"Records": [{**event["Records"][0], "body": text}]}


def pending(unit: Unit, **fields: Any) -> PendingUnit:
    known = PendingUnit(unit, FRAME_KEY, "e", attempt=1, errors=0, since=1.0)
    return msgspec.structs.replace(known, **fields)


def failures(result: dict[str, Any]) -> list[str]:
    return [item["itemIdentifier"] for item in result["batchItemFailures"]]


# The samples themselves


def test_every_function_has_a_sample_and_every_sample_its_function() -> None:
    stems = [path.stem for path in EVENTS.iterdir()]
    assert all(path.suffix == ".json" for path in EVENTS.iterdir())
    assert {stem.split("-")[0] for stem in stems} == set(functions())
    assert set(functions()) == {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}


def test_every_sample_is_used_here() -> None:
    source = Path(__file__).read_text()
    assert [path.stem for path in EVENTS.iterdir() if f'sample("{path.stem}")' not in source] == []


def test_samples_of_queues_have_the_shape_of_generated_events() -> None:
    # The keys of `sam local generate-event sqs receive-message` and `... s3 put`.
    keys = {"messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfBody", "eventSource"}
    for path in EVENTS.iterdir():
        for record in sample(path.stem).get("Records", []):
            assert record.keys() == keys | {"eventSourceARN", "awsRegion"}
            assert record["attributes"].keys() >= {"ApproximateReceiveCount", "SentTimestamp", "SenderId"}
    (record,) = body(sample("submit-frames"))["Records"]
    assert record.keys() >= {"eventVersion", "eventSource", "awsRegion", "eventTime", "eventName", "userIdentity", "s3"}
    assert record["s3"]["object"].keys() == {"key", "size", "eTag", "versionId", "sequencer"}


def test_samples_name_the_frame_and_document_of_the_tests(account: Account) -> None:
    account.add_run()
    for name, key, index in (("submit-frames", FRAME_KEY, 0), ("submit-drive-document", DOCUMENT_KEY, 0)):
        thing = body(sample(name), index)["Records"][0]["s3"]["object"]
        (there,) = account.ingest.list(key)
        assert (thing["key"], thing["eTag"], thing["size"]) == (key, there.etag, there.size)


# submit


def test_submit_sends_a_frame_to_its_model_and_records_refusals(account: Account) -> None:
    account.add_model()
    unit = account.add_frame()
    assert failures(account.invoke("submit", sample("submit-frames"))) == []
    (asked,) = account.called("InvokeEndpointAsync")
    assert asked["EndpointName"] == MODEL.endpoint
    assert asked["InferenceId"] == unit.inference_id(1)
    assert asked["RequestTTLSeconds"] == MODEL.queue_ttl
    found = account.ledger.pending(unit)
    assert found is not None
    assert found.invoked
    assert found.location == ""
    ((key, reason, _, _),) = account.ledger.refusals("drive-7")
    assert (key, reason) == ("drives/drive-7/front/left camera+ü.png", "key-outside-contract")


def test_submit_takes_the_messages_of_a_batch_at_the_same_time(account: Account) -> None:
    account.add_model()
    message = body(sample("submit-frames"))
    texts = []
    for index in range(24):
        message["Records"][0]["s3"]["object"]["key"] = f"drives/drive-7/front/{index:019d}.png"
        texts.append(json.dumps(message))
    first = sample("submit-frames")["Records"][0]
    records = [{**first, "messageId": str(n), "body": text} for n, text in enumerate([*texts, "no JSON"])]
    assert failures(account.invoke("submit", {"Records": records})) == []
    assert len(account.called("InvokeEndpointAsync")) == 24
    assert len(list(account.ledger.pending_of_model("drive-7", MODEL.id))) == 24
    # The catalogue, and the mark of the listing, are read once for all: the index, a revision; and one mark.
    assert len(account.called("GetObject")) == 2
    marks = [call for call in account.called("GetItem") if call["Key"]["sk"] == {"S": "frozen"}]
    assert len(marks) == 1
    # What is delivered again is not sent again. (The fake's conditions do not hold for threads, so not in one batch.)
    account.invoke("submit", {"Records": records})
    assert account.called("InvokeEndpointAsync") == []


def test_collect_settles_a_batch_in_few_requests(account: Account) -> None:
    account.add_model()
    messages = []
    for index in range(30):
        key = f"drives/drive-7/front/{index:019d}.png"
        unit = Unit.of(parse_frame_key(key), "e", MODEL.id)
        account.ledger.add_pending(pending(unit))
        message = body(sample("collect-success"))
        message["inferenceId"] = unit.inference_id(1)
        message["requestParameters"]["inputLocation"] = account.ingest.uri(key)
        message["responseParameters"]["outputLocation"] = account.labels.uri(unit.answer_key(1))
        messages.append(json.dumps(message))
    first = sample("collect-success")["Records"][0]
    records = [{**first, "messageId": str(n), "body": text} for n, text in enumerate([*messages, *messages])]
    assert failures(account.invoke("collect", {"Records": records})) == []
    assert not account.ledger.any_pending("drive-7", [MODEL.id])
    assert len(account.called("BatchWriteItem")) == 2
    assert account.called("DeleteItem") == []
    # Where the request fails, each message settles its own unit.
    account.ledger.add_pending(pending(unit))
    account.errors["BatchWriteItem"] = "ProvisionedThroughputExceededException"
    assert failures(account.invoke("collect", {"Records": records[-1:]})) == []
    assert not account.ledger.any_pending("drive-7", [MODEL.id])


def test_submit_doubles_the_wait_while_an_endpoint_is_unavailable(account: Account) -> None:
    account.add_model()
    account.sqs.send_message(QueueUrl=account.queue, MessageBody="x")
    (message,) = account.sqs.receive_message(QueueUrl=account.queue)["Messages"]
    for code, counts in (("ThrottlingException", (1, 2, 4, 20)), ("ValidationError", (1, 2, 4, 5))):
        account.errors["InvokeEndpointAsync"] = code
        waits = []
        for count in counts:
            event = sample("submit-frames")
            event["Records"][0]["receiptHandle"] = message["ReceiptHandle"]
            event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(count)
            result = account.invoke("submit", event)
            assert failures(result) == [event["Records"][0]["messageId"]]
            waits += [call["VisibilityTimeout"] for call in account.called("ChangeMessageVisibility")]
        assert waits == [min(900, 10 * 2 ** (count - 1)) for count in counts]


def test_submit_puts_a_frame_back_while_there_is_no_catalogue(account: Account) -> None:
    account.sqs.send_message(QueueUrl=account.queue, MessageBody="x")
    (message,) = account.sqs.receive_message(QueueUrl=account.queue)["Messages"]
    event = sample("submit-frames")
    event["Records"][0]["receiptHandle"] = message["ReceiptHandle"]
    assert failures(account.invoke("submit", event)) == [event["Records"][0]["messageId"]]


def test_submit_closes_a_drive_and_starts_its_run(account: Account) -> None:
    account.add_model()
    account.ingest.write(DOCUMENT_KEY, DOCUMENT)
    assert failures(account.invoke("submit", sample("submit-drive-document"))) == []
    (started,) = account.called("StartExecution")
    assert started["stateMachineArn"] == STATE_MACHINE
    assert started["name"] == "drive-7-0001"
    assert json.loads(started["input"]) == {"drive": "drive-7", "run": "0001"}
    assert account.ledger.run("drive-7", "0001").models == (MODEL.id,)
    assert account.labels.exists(RUN + "drive.json")


def test_submit_treats_a_second_start_as_a_duplicate(account: Account) -> None:
    account.add_model()
    account.ingest.write(DOCUMENT_KEY, DOCUMENT)
    account.errors["StartExecution"] = "ExecutionAlreadyExists"
    assert failures(account.invoke("submit", sample("submit-drive-document"))) == []


def test_submit_keeps_a_drive_whose_run_could_not_be_started(account: Account) -> None:
    account.add_model()
    account.ingest.write(DOCUMENT_KEY, DOCUMENT)
    account.errors["StartExecution"] = "StateMachineDoesNotExist"
    event = sample("submit-drive-document")
    assert failures(account.invoke("submit", event)) == [event["Records"][0]["messageId"]]


def document(size: int, where: str) -> bytes:
    """Build a document of about `size` bytes, most of them in one field."""
    camera: dict[str, Any] = {}
    fields: dict[str, Any] = {"vehicle": "car-1", "cameras": {"front": camera}}
    if where == "notes":
        fields["notes"] = ["x" * size]
    elif where == "camera":
        fields["cameras"] = {"x" * size: {}}
    elif where == "model":
        fields["models"] = ["x" * size]
    else:
        camera["intrinsics"] = {"x": [[0.5] * 10] * (size // 42)}
    return json.dumps(fields).encode()


@pytest.mark.parametrize("where", ["notes", "intrinsics", "camera", "model"])
@pytest.mark.parametrize("size", [150_000, 300_000, 600_000, 990_000, 1_500_000])
def test_submit_closes_or_refuses_a_document_of_any_size(account: Account, size: int, where: str) -> None:
    account.add_model()
    account.ingest.write(DOCUMENT_KEY, document(size, where))
    (there,) = account.ingest.list(DOCUMENT_KEY)
    message = body(sample("submit-drive-document"))
    message["Records"][0]["s3"]["object"] |= {"size": there.size, "eTag": there.etag}
    event = with_body(sample("submit-drive-document"), json.dumps(message))
    assert failures(account.invoke("submit", event)) == []
    refused = list(account.ledger.refusals("drive-7"))
    assert bool(refused) != bool(account.called("StartExecution"))
    for told in account.called("Publish"):
        # SNS accepts a message of 256 KiB and a subject of 100 characters.
        assert len(told["Message"].encode()) <= 262_144
        assert 0 < len(told["Subject"]) <= 100
    assert len(account.called("Publish")) == len(refused)


def test_submit_ignores_the_test_event_of_s3(account: Account) -> None:
    assert failures(account.invoke("submit", sample("submit-test-event"))) == []
    assert account.calls == []


def test_submit_closes_a_drive_whose_document_event_was_lost(account: Account) -> None:
    account.add_model()
    account.ingest.write(DOCUMENT_KEY, DOCUMENT)
    assert failures(account.invoke("submit", sample("submit-close"))) == []
    assert [call["name"] for call in account.called("StartExecution")] == ["drive-7-0001"]


def test_a_sweep_closes_abandoned_drives_and_reports_late_frames(account: Account) -> None:
    account.add_run()
    account.labels.write("labels/drive-7/0001/frames.jsonl", b"")
    account.labels.write("labels/drive-7/0001/listing.json", b'{"objects":0,"frames":0,"cameras":{},"refused":{}}')
    account.ledger.mark_closed("drive-7")
    account.ledger.mark_late("drive-7", 1.0)
    account.ingest.write("drives/forgotten/front/1700000000000000000.png", png_header(640, 360))
    account.ingest.write("drives/lost-event/drive.json", DOCUMENT)
    assert account.invoke("sweep", sample("sweep"), ABANDONED_AFTER="-1") == {"closed": 1, "asked": 1, "late": 1}
    closed = json.loads(account.ingest.read("drives/forgotten/drive.json") or b"")
    assert list(closed["cameras"]) == ["front"]
    assert account.messages() == [{"kind": "close", "drive": "lost-event"}]
    told = [call["Subject"] for call in account.called("Publish")]
    assert told == ["drive forgotten was never closed", "drive drive-7 has changed since run 0001 began"]
    assert list(account.ledger.late_drives()) == []
    # A second sweep closes and reports nothing again.
    assert account.invoke("sweep", sample("sweep"), ABANDONED_AFTER="-1")["late"] == 0


def test_a_canary_is_uploaded_and_watched(account: Account) -> None:
    drive = account.invoke("sweep", sample("sweep-canary"))["canary"]
    assert len(list(account.ingest.list(f"drives/{drive}/"))) == 11
    # A sweep looks for its dataset.
    account.invoke("sweep", sample("sweep"))
    assert f"labels/{drive}/" in [call.parameters.get("Prefix") for call in account.calls]


def test_a_log_is_extracted_step_by_step_and_closes_its_drive(account: Account) -> None:
    key = "drives/drive-8/logs/front.mcap"
    account.ingest.write(key, mcap_log(drive(3)))
    account.ingest.write("drives/drive-8/logs/recording.json", b'{"logs": ["front.mcap"]}')
    head = account.ingest.head(key)
    assert head is not None
    step = {**sample("extract-inspect"), "drive": "drive-8", "etag": head.etag}
    settings = {"SLICE_MEGABYTES": "1"}
    inspected = account.invoke("extract", step, **settings)
    assert (inspected["slices"], inspected["refused"]) == (1, "")
    done = account.invoke("extract", {**step, "step": "extract", "slice": 0}, **settings)
    assert (done["frames"], done["changed"]) == (6, False)
    ended = account.invoke("extract", {**step, "step": "end"}, **settings)
    assert (ended["outcome"], ended["frames"]) == ("extracted", 6)
    closed = json.loads(account.ingest.read("drives/drive-8/drive.json") or b"")
    assert len(closed["cameras"]) == 2


def test_submit_closes_a_drive_of_logs_after_a_quiet_time(account: Account) -> None:
    key = "drives/drive-8/logs/front.mcap"
    account.ingest.write(key, mcap_log(drive(3)))
    head = account.ingest.head(key)
    assert head is not None
    cameras = {"camera-front": 3}
    account.ledger.end_log(LogRecord("drive-8", "front.mcap", head.etag, "extracted", 1.0, cameras=cameras))
    asked = with_body(sample("submit-close"), '{"kind":"logs","drive":"drive-8"}')
    assert failures(account.invoke("submit", asked, LOGS_QUIET="-5")) == []
    assert list(json.loads(account.ingest.read("drives/drive-8/drive.json") or b"")["cameras"]) == ["camera-front"]


def test_submit_invokes_the_model_for_a_queued_unit(account: Account) -> None:
    account.add_model()
    unit = account.add_frame()
    account.ledger.add_pending(pending(unit))
    assert failures(account.invoke("submit", sample("submit-unit"))) == []
    assert [asked["InferenceId"] for asked in account.called("InvokeEndpointAsync")] == [unit.inference_id(1)]


def test_submit_wakes_the_run_of_an_answered_unit(account: Account) -> None:
    account.add_run()
    account.add_answer()
    account.ledger.add_pending(pending(account.add_frame()))
    account.ledger.wait(WaitingRun("drive-7", "0001", "token", (MODEL.id,)))
    assert failures(account.invoke("submit", sample("submit-unit"))) == []
    assert [call["taskToken"] for call in account.called("SendTaskSuccess")] == ["token"]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"kind":"unit"}', '{"Records":[{}]}', '{"Records":[{"s3":1}]}'])
def test_submit_drops_an_unknown_message(account: Account, text: str) -> None:
    account.add_model()
    assert failures(account.invoke("submit", with_body(sample("submit-unit"), text))) == []
    assert account.called("InvokeEndpointAsync") == []


def test_a_bad_record_does_not_block_the_rest_of_its_batch(account: Account) -> None:
    account.add_model()
    account.add_frame()
    event = sample("submit-frames")
    event["Records"].insert(0, {**event["Records"][0], "body": "no JSON"})
    assert failures(account.invoke("submit", event)) == []
    assert len(account.called("InvokeEndpointAsync")) == 1


def test_submit_refuses_to_start_without_its_settings(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.load("submit")
    monkeypatch.delenv("JOB_LABELS")
    monkeypatch.delenv("OPS_TOPIC_ARN")
    with pytest.raises(SettingsError, match="OPS_TOPIC_ARN, JOB_LABELS"):
        load_module(ROOT / "functions" / "submit" / "app.py")


# collect


@pytest.fixture
def waiting(account: Account) -> Account:
    """Give an account with a run of one frame that waits for its answer."""
    account.add_run()
    account.ledger.add_pending(pending(account.add_frame(), since=1.0))
    account.ledger.wait(WaitingRun("drive-7", "0001", "token", (MODEL.id,)))
    return account


def test_collect_settles_an_answer_and_wakes_the_run(waiting: Account) -> None:
    assert failures(waiting.invoke("collect", sample("collect-success"))) == []
    assert not waiting.ledger.any_pending("drive-7", [MODEL.id])
    assert [call["taskToken"] for call in waiting.called("SendTaskSuccess")] == ["token"]
    assert waiting.ledger.waiting_runs("drive-7") == []


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_collect_forgets_a_token_whose_wait_is_over(waiting: Account, code: str) -> None:
    waiting.errors["SendTaskSuccess"] = code
    assert failures(waiting.invoke("collect", sample("collect-success"))) == []
    assert waiting.ledger.waiting_runs("drive-7") == []


def test_collect_keeps_the_token_when_step_functions_fails(waiting: Account) -> None:
    waiting.errors["SendTaskSuccess"] = "InternalError"
    with pytest.raises(ClientError):
        waiting.invoke("collect", sample("collect-success"))
    assert [run.token for run in waiting.ledger.waiting_runs("drive-7")] == ["token"]


def test_collect_checks_a_drive_once_per_batch(waiting: Account) -> None:
    event = sample("collect-success")
    event["Records"] = [{**event["Records"][0], "messageId": str(i)} for i in range(10)]
    assert failures(waiting.invoke("collect", event)) == []
    assert len(waiting.called("SendTaskSuccess")) == 1


@pytest.mark.parametrize("shape", ["reason", "top"])
def test_collect_queues_the_next_attempt_after_a_failure(waiting: Account, shape: str) -> None:
    event = sample("collect-failure") if shape == "reason" else sample("collect-failure-location-at-the-top")
    assert failures(waiting.invoke("collect", event)) == []
    found = waiting.ledger.pending(waiting.add_frame())
    assert found is not None
    assert (found.attempt, found.errors) == (2, 1)
    # Collect sends the message that submit reads.
    (message,) = waiting.messages()
    assert message == {**body(sample("submit-unit")), "etag": "e"}
    assert waiting.called("SendTaskSuccess") == []


def test_collect_fails_a_unit_at_its_last_error_and_wakes_the_run(waiting: Account) -> None:
    assert failures(waiting.invoke("collect", sample("collect-failure"), MAX_ERRORS="1")) == []
    ((reason),) = [failed.reason for failed in waiting.ledger.failed_of_model("drive-7", MODEL.id)]
    assert "server error (500)" in reason
    assert len(waiting.called("SendTaskSuccess")) == 1


def test_collect_counts_no_error_for_an_expired_request(waiting: Account) -> None:
    assert failures(waiting.invoke("collect", sample("collect-expired"), MAX_ERRORS="1")) == []
    found = waiting.ledger.pending(waiting.add_frame())
    assert found is not None
    assert (found.attempt, found.errors) == (2, 0)


def test_collect_ignores_the_test_notification(waiting: Account) -> None:
    assert failures(waiting.invoke("collect", sample("collect-test-notification"))) == []
    assert waiting.calls == []


def test_collect_logs_and_ignores_a_foreign_notification(waiting: Account, caplog: pytest.LogCaptureFixture) -> None:
    message = {**body(sample("collect-success")), "inferenceId": "11111111-2222-3333-4444-555555555555"}
    assert failures(waiting.invoke("collect", with_body(sample("collect-success"), json.dumps(message)))) == []
    assert waiting.calls == []
    assert "stranger" in caplog.text


# The states of a run


def test_reconcile_repairs_and_counts_units(account: Account) -> None:
    account.add_run()
    report = account.invoke("reconcile", sample("reconcile-turn"))
    assert (report["frames"], report["pending"], report["submitted"]) == (1, 1, 1)
    assert account.messages() == [body(sample("submit-unit"))]
    account.add_answer()
    report = account.invoke("reconcile", sample("reconcile-turn"))
    assert (report["answered"], report["pending"]) == (1, 0)


def test_reconcile_measures_how_long_a_run_waits_for_answers(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.time() - 2 * 3600
    run = account.ledger.allocate_run(msgspec.structs.replace(account.add_run(), since=began, run="0002"))
    turn = {**sample("reconcile-turn"), "run": run.run}
    assert account.invoke("reconcile", turn)["pending"] == 1
    account.add_answer()
    assert account.invoke("reconcile", turn)["pending"] == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (waited,) = [value for line in lines for value in line.get("WaitingHours", [])]
    assert waited == pytest.approx(2, abs=0.1)


def test_reconcile_may_make_every_repair(account: Account) -> None:
    account.add_run()
    unit = account.add_frame()
    for invoked, unanswered in ((False, 0), (True, 0), (True, 4)):
        account.ledger.settle(unit, None)
        account.ledger.add_pending(pending(unit))
        if unanswered:
            account.ledger.next_attempt(pending(unit), errors=0, since=1.0, unanswered=unanswered)
        if invoked:
            at = pending(unit, attempt=2 if unanswered else 1)
            account.ledger.mark_invoked(at, invoked=1.0, deadline=2.0, location="inference/x.out")
        report = account.invoke("reconcile", sample("reconcile-turn"))
        assert report["resubmitted"] + report["failed"] == 1
    account.ledger.add_pending(pending(unit))
    account.ledger.mark_invoked(pending(unit), invoked=1.0, deadline=2.0, location="inference/x.out")
    account.labels.write("inference/x.out", b"{}")
    assert account.invoke("reconcile", sample("reconcile-turn"))["answered"] == 1


def test_reconcile_waits_with_the_token_while_something_is_pending(account: Account) -> None:
    account.add_run()
    account.ledger.add_pending(pending(account.add_frame()))
    event = sample("reconcile-await")
    assert account.invoke("reconcile", event) == {"woken": False}
    assert [run.token for run in account.ledger.waiting_runs("drive-7")] == [event["token"]]
    assert account.called("SendTaskSuccess") == []


def test_reconcile_wakes_at_once_when_nothing_is_pending(account: Account) -> None:
    account.add_run()
    assert account.invoke("reconcile", sample("reconcile-await")) == {"woken": True}
    assert account.ledger.waiting_runs("drive-7") == []


@pytest.mark.parametrize("function", ["reconcile", "plan", "link", "assemble", "verify", "lift", "publish"])
def test_an_unknown_run_is_an_error_that_names_it(account: Account, function: str) -> None:
    event = {
        "reconcile": sample("reconcile-turn"),
        "plan": sample("plan"),
        "link": sample("link"),
        "assemble": sample("assemble"),
        "verify": sample("verify-settle"),
        "lift": sample("lift"),
    }
    with pytest.raises(RunMissing, match="drive-7"):
        account.invoke(function, event.get(function, sample("publish")))


def test_an_invalid_request_is_an_error_that_says_why(account: Account) -> None:
    for function in ("reconcile", "plan", "label", "link", "assemble", "verify", "lift", "publish"):
        with pytest.raises(msgspec.ValidationError, match="run"):
            account.invoke(function, {"drive": "drive-7"})
    account.add_run()
    with pytest.raises(ValueError, match="give one of open, wait, look, settle, take, take_over, cut"):
        account.invoke("verify", {"drive": "drive-7", "run": "0001"})


def test_a_run_goes_through_its_states_to_its_dataset(account: Account) -> None:
    run = account.add_run()
    account.add_answer()
    assert account.invoke("reconcile", sample("reconcile-turn"))["pending"] == 0

    plan = account.invoke("plan", sample("plan"))
    assert (plan["shards"], plan["frames"]) == (1, 1)
    # The map passes the lines of the shard list to label.
    (shard,) = (json.loads(line) for line in account.labels.lines(plan["key"]))
    assert shard == sample("label")["shard"]

    assert account.invoke("label", sample("label")) == {
        "shard": 0,
        "labelled": 1,
        "failed": 0,
        "rejected": 0,
        "boxes": 1,
    }
    (line,) = (json.loads(line) for line in account.labels.lines(RUN + "shards/000000.manifest.jsonl"))
    assert line["prelabel-metadata"]["creation-date"] == sample("label")["started"].rstrip("Z")

    # The context leaves little time, so each call links one shard in one direction.
    report = account.invoke("link", sample("link"))
    assert (report["verdict"], report["cursor"]) == ("continue", {"shard": 0, "direction": "backward"})
    assert account.invoke("link", {**sample("link"), "cursor": report["cursor"]})["verdict"] == "done"
    # One frame has no rate.
    links = json.loads(account.labels.read(RUN + "links.json") or b"")
    assert links["cameras"] == {"front": {"rate": None, "tracks": None}}

    assembly = account.invoke("assemble", sample("assemble"))
    assert assembly["frames"] == {"uploaded": 1, "labelled": 1, "failed": 0, "rejected": 0}
    (job,) = assembly["jobs"]
    ended = sample("verify-settle")["settle"]
    assert (ended["manifest"], ended["job"]) == (job["manifest"], f"{job['name']}-1")

    output = ended["output"].removeprefix(f"s3://{LABELS}/")
    account.labels.write(output, json.dumps(verified(line)).encode() + b"\n")
    response = {"answers": [{"workerId": "w1", "timeSpentInSeconds": 7.5, "answerContent": {}}]}
    folder = output.removesuffix("manifests/output/output.manifest")
    key = f"{folder}annotations/worker-response/iteration-1/0/2026-11-22_10-00-00.json"
    account.labels.write(key, json.dumps(response).encode())
    settled = account.invoke("verify", sample("verify-settle"))
    (finished,) = sample("publish")["jobs"]
    assert (job["first"], job["last"], [settled]) == (finished["first"], finished["last"], finished["rounds"])
    (result,) = (json.loads(line) for line in account.labels.lines(settled["results"].removeprefix(f"s3://{LABELS}/")))
    assert result["review"] == {"worker": "w1", "seconds": 7.5}
    planned = account.invoke("publish", sample("publish-plan"))
    (part,) = (json.loads(line) for line in account.labels.lines(planned["key"]))
    # The map passes the lines of the part list, as in the sample.
    ours = sample("publish-part")["part"]
    assert {**part, "results": []} == {**ours, "results": []}
    assert not planned["lift"]
    written = account.invoke("publish", {**sample("publish-part"), "part": part})
    assert (planned["parts"], written["frames"]) == (1, 1)
    publication = account.invoke("publish", sample("publish"))
    assert (publication["verified"], publication["boxes"]) == (1, 1)
    ((entry,),) = (call["Entries"] for call in account.called("PutEvents"))
    assert (entry["Source"], entry["DetailType"]) == ("autolabel", "DriveLabelled")
    assert json.loads(entry["Detail"]) == publication
    summary = msgspec.json.decode(account.labels.read(RUN + "summary.json") or b"", type=Summary)
    assert summary.dataset == publication["dataset"]
    assert account.ledger.run(run.drive, run.run) == run


def test_the_boxes_of_a_part_are_lifted_with_the_cloud_beside_the_frame(account: Account) -> None:
    camera = CAMERA._replace(width=640, height=360)  # the frame's size
    account.add_run(json.dumps({"vehicle": "car-1", **lidar_drive(camera), "cuboids": "verify"}).encode())
    cloud = f"drives/drive-7/top/{parse_frame_key(FRAME_KEY).timestamp}.bin"
    account.ingest.write(cloud, bytes(16))
    account.ingest.write("drives/drive-7/logs/a.mcap", b"a log")
    log = account.ingest.head("drives/drive-7/logs/a.mcap")
    assert log
    account.ledger.end_log(LogRecord("drive-7", "a.mcap", log.etag, "extracted", 1.0, poses=1))
    account.labels.write(LogFolder("drive-7", "a.mcap", log.etag).poses, b"{}\n")
    assembled_job(account)
    output = sample("verify-settle")["settle"]["output"].removeprefix(f"s3://{LABELS}/")
    (line,) = (json.loads(line) for line in account.labels.lines(RUN + "manifests/verify-000.manifest"))
    account.labels.write(output, json.dumps(verified(line)).encode() + b"\n")
    account.invoke("verify", sample("verify-settle"))
    planned = account.invoke("publish", sample("publish-plan"))
    assert (planned["lift"], planned["review"]) == (True, True)
    (part,) = (json.loads(line) for line in account.labels.lines(planned["key"]))
    # The context leaves little time, so each call lifts one group of frames, or joins them.
    for done, called in ((False, [cloud]), (True, []), (True, [])):
        report = account.invoke("lift", {**sample("lift"), "part": part})
        assert report["done"] == done
        assert [call["Key"] for call in account.called("GetObject") if call["Bucket"] == INGEST] == called
    # No box was lifted, so reviewers get no job.
    assert account.invoke("assemble", sample("assemble-cuboids"))["jobs"] == ()
    account.invoke("publish", sample("publish"))
    (published,) = (json.loads(line) for line in account.labels.lines(RUN + "dataset.manifest"))
    assert published["cuboids"] == [{"why": "no readable point cloud"}]


def test_a_round_of_segments_is_settled_by_the_jobs_images(account: Account) -> None:
    account.add_run()
    account.add_answer()
    for function in ("reconcile-turn", "plan", "label", "assemble"):
        account.invoke(function.partition("-")[0], sample(function))
    ended = sample("verify-settle-segments")["settle"]
    output = ended["output"].removeprefix(f"s3://{LABELS}/")
    picture = output.replace("manifests/output/output.manifest", "annotations/consolidated-annotation/output/0_1.png")
    (line,) = (json.loads(line) for line in account.labels.lines(RUN + "manifests/verify-000.manifest"))
    size = line["prelabel"]["image_size"][0]
    account.labels.write(picture, png_header(size["width"], size["height"]))
    colors = {"0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0}}
    left = {**line, "verified-ref": f"s3://{LABELS}/{picture}", "verified-ref-metadata": {"internal-color-map": colors}}
    account.labels.write(output, json.dumps(left).encode() + b"\n")
    settled = account.invoke("verify", sample("verify-settle-segments"))
    assert (settled["frames"], settled["verified"], "again" in settled) == (1, 1, False)


def test_a_job_of_tracks_is_cut_into_sequences(account: Account) -> None:
    account.add_run()
    account.add_answer()
    for function in ("reconcile-turn", "plan", "label", "assemble"):
        account.invoke(function.partition("-")[0], sample(function))
    written = account.invoke("verify", sample("verify-cut"))["manifest"]
    (line,) = (json.loads(line) for line in account.labels.lines(written.removeprefix(f"s3://{LABELS}/")))
    for name in ("source-ref", "prelabel-ref"):
        assert account.labels.exists(line[name].removeprefix(f"s3://{LABELS}/"))


def test_ground_truth_gets_the_view_of_a_frame(account: Account) -> None:
    account.labels.write(model_key(BLUR.id), msgspec.json.encode(BLUR))
    account.add_run(views=ViewsModel(BLUR.id, BLUR.id))
    account.ingest.write(FRAME_KEY, png())
    (thing,) = account.ingest.list(FRAME_KEY)
    regions = answer_of([(0.25, 0.25, 0.5, 0.5)], [0.0], [0.9], REGIONS)
    for model, body in ((MODEL.id, answer_of()), (BLUR.id, regions)):
        unit = Unit.of(parse_frame_key(FRAME_KEY), thing.etag, model)
        account.labels.write(unit.answer_key(1), body)
    for function in ("reconcile-turn", "plan", "label", "assemble"):
        account.invoke(function.partition("-")[0], sample(function))
    event = sample("verify-cut")
    event["cut"]["strip_frames"] = 0
    written = account.invoke("verify", event)["manifest"]
    (line,) = (json.loads(line) for line in account.labels.lines(written.removeprefix(f"s3://{LABELS}/")))
    view = line["source-ref"].removeprefix(f"s3://{LABELS}/")
    assert view.startswith(f"views/drive-7/{BLUR.id}/front/")
    assert account.labels.exists(view)
    for function, action in (("label", "s3:PutObject"), ("assemble", "s3:GetObject"), ("publish", "s3:GetObject")):
        assert allows(function, action, f"arn:aws:s3:::{LABELS}/{view}")


# Label Studio

WEBHOOK_SECRET = "a secret of webhooks"
JOB = sample("verify-open")["open"]["job"]
LATER = "9" * 27


# Names of a job's fields in the state machine's request, and in the job.
OPENED = {"job": "name", "manifest": "manifest", "frames": "frames", "reviewers": "reviewers"}


@pytest.fixture
def studio(account: Account, monkeypatch: pytest.MonkeyPatch) -> FakeLabelStudio:
    """Give the Label Studio of a stack whose run of one frame has reached its verification."""
    connection = {"url": "https://labels.example", "token": "T0KEN", "webhook_secret": WEBHOOK_SECRET}
    account.label_studio = json.dumps(connection)
    studio = FakeLabelStudio()
    monkeypatch.setattr(
        "autolabel.verification.label_studio.client.LabelStudioClient", lambda connection, secret: studio
    )
    account.add_run()
    account.add_answer()
    account.invoke("reconcile", sample("reconcile-turn"))
    account.invoke("plan", sample("plan"))
    account.invoke("label", sample("label"))
    (job,) = account.invoke("assemble", sample("assemble"), BACK_END="label-studio")["jobs"]
    asked = sample("verify-open")["open"]
    assert (job["back_end"], asked) == ("label-studio", {name: job[known] for name, known in OPENED.items()})
    return studio


def answer(studio: FakeLabelStudio) -> None:
    """Accept the boxes of every task, as a reviewer."""
    for task, row in studio.rows.items():
        now = datetime(2026, 3, 12, 19, 3, tzinfo=UTC)
        studio.annotate(task, Annotation(1, now, row["predictions"][0]["result"], completed_by=7, lead_time=2.5))


def notify(account: Account, **changes: Any) -> tuple[int, str]:
    """Send Label Studio's notification; return the status and the text of the reply."""
    reply = account.invoke("webhook", sample("webhook") | changes)
    return reply["statusCode"], reply["body"]


def held(account: Account) -> WaitingJob | None:
    return account.ledger.held(JOB)


def woken(account: Account) -> list[str]:
    return [call["taskToken"] for call in account.called("SendTaskSuccess")]


def test_verify_opens_a_jobs_project_once_with_its_webhook(account: Account, studio: FakeLabelStudio) -> None:
    assert account.invoke("verify", sample("verify-open")) == {"project": "1", "frames": 1}
    assert account.invoke("verify", sample("verify-open")) == {"project": "1", "frames": 1}
    assert [call["SecretId"] for call in account.called("GetSecretValue")] == [CONNECTION]
    (hook,) = studio.hooks[1]
    notification = sample("webhook")
    assert hook.url == f"{WEBHOOK_URL}?{notification['rawQueryString']}"
    assert hook.headers == {HEADER: notification["headers"][HEADER.lower()]}
    (row,) = studio.rows.values()
    # The function signs with its own permissions; without them the URL would give no access.
    assert f"{INGEST}.s3.eu-central-1.amazonaws.com/{FRAME_KEY}?" in row["data"]["image"]
    assert allows("verify", "s3:GetObject", f"arn:aws:s3:::{INGEST}/{FRAME_KEY}")


def test_a_run_waits_until_the_last_answer_is_notified(account: Account, studio: FakeLabelStudio) -> None:
    account.invoke("verify", sample("verify-open"))
    asked = sample("verify-wait")["wait"]
    assert account.invoke("verify", sample("verify-wait")) == {"woken": False}
    assert held(account) == WaitingJob(JOB, asked["token"], asked["order"])
    assert woken(account) == []

    body = json.loads(sample("webhook")["body"])
    body["project"]["finished_task_number"] = 0
    assert notify(account, body=json.dumps(body)) == (200, "noted")
    assert account.called("GetItem") == []
    answer(studio)
    assert notify(account) == (200, "woken")
    assert woken(account) == [asked["token"]]
    assert held(account) is None
    # The same notification again.
    assert notify(account) == (200, "no run waits")
    assert woken(account) == []


def test_a_wait_checks_for_an_earlier_notification(account: Account, studio: FakeLabelStudio) -> None:
    account.invoke("verify", sample("verify-open"))
    answer(studio)
    assert notify(account) == (200, "no run waits")
    assert account.invoke("verify", sample("verify-wait")) == {"woken": True}
    assert woken(account) == [sample("verify-wait")["wait"]["token"]]
    assert held(account) is None


def test_an_outdated_wait_keeps_the_token_of_a_later_one(account: Account, studio: FakeLabelStudio) -> None:
    account.invoke("verify", sample("verify-open"))
    later = WaitingJob(JOB, "later", LATER)
    account.ledger.hold(later)
    answer(studio)
    assert account.invoke("verify", sample("verify-wait")) == {"woken": False}
    assert held(account) == later


def test_a_wait_whose_check_fails_keeps_its_token(account: Account, studio: FakeLabelStudio) -> None:
    account.invoke("verify", sample("verify-open"))

    def down(number: int, name: str) -> None:
        raise VerificationUnavailable("Label Studio does not answer")

    studio.before = down
    with pytest.raises(VerificationUnavailable):
        account.invoke("verify", sample("verify-wait"))
    assert notify(account) == (200, "woken")


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_notification_for_an_ended_wait_deletes_its_token(
    account: Account, studio: FakeLabelStudio, code: str
) -> None:
    account.ledger.hold(WaitingJob(JOB, "over", "1"))
    account.errors["SendTaskSuccess"] = code
    assert notify(account) == (200, "no run waits")
    assert held(account) is None


def test_a_notification_keeps_the_token_when_step_functions_fails(account: Account, studio: FakeLabelStudio) -> None:
    account.ledger.hold(WaitingJob(JOB, "token", "1"))
    account.errors["SendTaskSuccess"] = "InternalError"
    with pytest.raises(ClientError):
        notify(account)
    assert held(account) == WaitingJob(JOB, "token", "1")


def test_a_notification_may_be_base64_encoded(account: Account, studio: FakeLabelStudio) -> None:
    account.ledger.hold(WaitingJob(JOB, "token", "1"))
    body = base64.b64encode(sample("webhook")["body"].encode()).decode()
    assert notify(account, body=body, isBase64Encoded=True) == (200, "woken")


FORGERIES: dict[str, dict[str, Any]] = {
    "no header": {"headers": {}},
    "another secret's": {"headers": {HEADER.lower(): signature("another secret", JOB)}},
    "another job's": {"headers": {HEADER.lower(): signature(WEBHOOK_SECRET, "drive-8-00000000-0001-000")}},
    "for another job": {"rawQueryString": "job=drive-8-00000000-0001-000"},
    "for no job": {"rawQueryString": ""},
}


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_notification_is_rejected_unread(
    account: Account, studio: FakeLabelStudio, forged: dict[str, Any]
) -> None:
    for job in (JOB, "drive-8-00000000-0001-000", ""):
        account.ledger.hold(WaitingJob(job, "token", "1"))
    assert notify(account, **forged) == (401, "not signed for this job")
    # A caller without a signature reaches only the secret.
    assert {call.operation for call in account.calls} == {"GetSecretValue"}


@pytest.mark.parametrize("body", ["", "no JSON", "[]", '{"action": 1}', "x" * 2_000_001])
def test_a_signed_but_malformed_notification_is_rejected(account: Account, studio: FakeLabelStudio, body: str) -> None:
    account.ledger.hold(WaitingJob(JOB, "token", "1"))
    assert notify(account, body=body)[0] == 400
    assert {call.operation for call in account.calls} == {"GetSecretValue"}


def test_verify_reports_progress_and_renews_urls_of_open_tasks(account: Account, studio: FakeLabelStudio) -> None:
    account.invoke("verify", sample("verify-open"))
    assert account.invoke("verify", sample("verify-look")) == {"done": 0, "total": 1}
    assert "change_data" in studio.calls
    answer(studio)
    studio.calls.clear()
    assert account.invoke("verify", sample("verify-look")) == {"done": 1, "total": 1}
    assert "change_data" not in studio.calls


def test_verify_settles_answers_from_label_studio(account: Account, studio: FakeLabelStudio) -> None:
    account.invoke("verify", sample("verify-open"))
    answer(studio)
    event = sample("verify-settle")
    event["settle"] |= {"job": JOB, "back_end": "label-studio", "output": "1"}
    settled = account.invoke("verify", event)
    assert (settled["frames"], settled["verified"], settled["unadjusted"]) == (1, 1, 1)
    (line,) = (json.loads(line) for line in account.labels.lines(settled["results"].removeprefix(f"s3://{LABELS}/")))
    assert line["review"] == {"seconds": 2.5, "worker": "7"}
    assert line["metadata"]["job-name"] == f"labeling-job/{JOB}"


def assembled_job(account: Account) -> str:
    """Bring the run to its verification job, and return the S3 URI of the job's manifest."""
    account.add_answer()
    for function, name in (("reconcile", "reconcile-turn"), ("plan", "plan"), ("label", "label")):
        account.invoke(function, sample(name))
    (job,) = account.invoke("assemble", sample("assemble"))["jobs"]
    return str(job["manifest"])


def answered_once(account: Account) -> None:
    """Let a reviewer answer the frame of the job, without an output manifest."""
    job = sample("verify-take")["take"]["job"]
    box = {"label": "car", "left": 1, "top": 1, "width": 5, "height": 5}
    answer = {"workerId": "w1", "answerContent": {"boundingBox": {"boundingBoxes": [box]}}}
    key = f"{RUN}verification/{job}/annotations/worker-response/iteration-1/0/2026-11-22_10-00-00.json"
    account.labels.write(key, json.dumps({"answers": [answer]}).encode())


def test_verify_takes_in_what_a_stopped_job_left(account: Account) -> None:
    account.add_run()
    assembled_job(account)
    # The answer is counted and has not come yet.
    assert account.invoke("verify", sample("verify-take")) == {"waiting": True}
    answered_once(account)
    taken = account.invoke("verify", sample("verify-take"))
    assert taken["answered"] == 1
    assert "open" not in taken
    (result,) = (json.loads(line) for line in account.labels.lines(taken["results"].removeprefix(f"s3://{LABELS}/")))
    assert result["review"]["worker"] == "w1"


def test_verify_takes_over_an_open_job_of_an_earlier_run(account: Account) -> None:
    run = account.add_run()
    manifest = assembled_job(account)
    answered_once(account)
    account.ledger.allocate_run(msgspec.structs.replace(run, run="0002", review="changed"))
    account.invoke("reconcile", {"drive": "drive-7", "run": "0002", "progress": {}})
    account.invoke("plan", {"drive": "drive-7", "run": "0002"})
    account.labeling_job = {
        "LabelingJobStatus": "InProgress",
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": manifest}}},
        "LabelCounters": {"TotalLabeled": 1},
    }
    assert account.invoke("verify", sample("verify-take-over"))["verdict"] == "end"
    assert len(account.called("StopLabelingJob")) == 1
    account.errors["DescribeLabelingJob"] = "ResourceNotFound"
    answered = account.labels.read(f"{RUN}taken-over.json")
    assert answered is not None
    assert json.loads(answered) == {"by": "0002"}
    with pytest.raises(VerificationRefused, match="run 0002 took over the reviewers' work of drive-7 0001"):
        account.invoke("verify", sample("verify-take"))


def test_verify_takes_over_a_project_of_label_studio(account: Account, studio: FakeLabelStudio) -> None:
    account.errors["DescribeLabelingJob"] = "ResourceNotFound"
    manifest = assembled_job(account)
    event = sample("verify-open")
    event["open"]["manifest"] = manifest
    account.invoke("verify", event)
    answer(studio)
    run = account.ledger.run("drive-7", "0001")
    account.ledger.allocate_run(msgspec.structs.replace(run, run="0002", review="changed"))
    account.invoke("reconcile", {"drive": "drive-7", "run": "0002", "progress": {}})
    account.invoke("plan", {"drive": "drive-7", "run": "0002"})
    assert account.invoke("verify", sample("verify-take-over")) == {"verdict": "collected", "labels": 1}


def test_an_unreadable_secret_is_named(account: Account, studio: FakeLabelStudio) -> None:
    account.errors["GetSecretValue"] = "AccessDeniedException"
    for event in (sample("verify-open"), sample("verify-wait"), sample("verify-look")):
        with pytest.raises(VerificationRefused, match=f"{CONNECTION}.*this role may read it"):
            account.invoke("verify", event)
    assert studio.calls == []


def test_assemble_may_copy_a_large_shard(account: Account) -> None:
    account.add_run()
    account.add_answer()
    account.invoke("reconcile", sample("reconcile-turn"))
    account.invoke("plan", sample("plan"))
    account.invoke("label", sample("label"))
    # A shard manifest above 5 MiB is copied inside S3 by a multipart upload.
    key = RUN + "shards/000000.manifest.jsonl"
    (line,) = (json.loads(line) for line in account.labels.lines(key))
    line["padding"] = "x" * (9 * 1024 * 1024)
    large = json.dumps(line).encode() + b"\n"
    account.labels.write(key, large)
    result = json.loads(account.labels.read(RUN + "shards/000000.result.json") or b"")
    account.labels.write(
        RUN + "shards/000000.result.json", json.dumps({**result, "manifest_bytes": len(large)}).encode()
    )
    account.invoke("assemble", sample("assemble"))
    assert account.called("UploadPartCopy")


def test_handlers_return_no_labels(account: Account) -> None:
    # States pass counts and URIs only, since Step Functions accepts 256 KiB.
    account.add_run()
    account.add_answer()
    for function, event in (
        ("reconcile", sample("reconcile-turn")),
        ("plan", sample("plan")),
        ("label", sample("label")),
        ("assemble", sample("assemble")),
    ):
        result = json.dumps(account.invoke(function, event))
        assert len(result) < 2_000
        assert "annotations" not in result
