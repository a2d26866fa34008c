"""The console of an embedded cloud in a real Chromium, while an execution runs, fails and is redriven."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from local import CloudConsole, CloudSettings, EmbeddedCloud
from local.tests.browser.conftest import chromium
from local.tests.conformance.workbench import ROLE, Workbench, unique

__all__ = ["chromium"]

# A name that would run as markup, and would not fit unescaped into the address or a selector.
HOSTILE = "<img src=x onerror=document.title='broken'> \"&'/?#"


def machine(queue: str) -> str:
    """A machine that catches an error, runs four shards and fails one, and waits for a token in each iteration."""
    send = "arn:aws:states:::sqs:sendMessage"
    token = {"QueueUrl": queue, "MessageBody": {"token": "{% $states.context.Task.Token %}"}}
    ask = {"Type": "Task", "Resource": f"{send}.waitForTaskToken", "Arguments": token, "End": True}
    odd = {"Condition": "{% $states.input = 'bad' %}", "Next": "Refuse"}
    states = {
        HOSTILE: {
            "Type": "Task",
            "Resource": send,
            "Arguments": {"QueueUrl": f"{queue}-missing", "MessageBody": "lost"},
            "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 2}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Shards", "Output": "{% $states.input %}"}],
            "Next": "Unused",
        },
        "Unused": {"Type": "Succeed"},
        "Shards": {
            "Type": "Map",
            "Label": "Shards",
            "Items": "{% $states.input.shards %}",
            "ToleratedFailurePercentage": 50,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Bad?",
                "States": {
                    "Bad?": {"Type": "Choice", "Choices": [odd], "Default": "Work"},
                    "Work": {"Type": "Pass", "End": True},
                    "Refuse": {"Type": "Fail", "Error": "BadShard", "Cause": HOSTILE},
                },
            },
            "Output": ["one", "two"],
            "Next": "Ask all",
        },
        "Ask all": {
            "Type": "Map",
            "Items": "{% $states.input %}",
            "ItemProcessor": {"StartAt": "Ask", "States": {"Ask": ask}},
            "End": True,
        },
    }
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": HOSTILE, "States": states})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with EmbeddedCloud(tmp_path_factory.mktemp("cloud"), settings=CloudSettings(wait_scale=0.05)) as cloud:
        yield Workbench(cloud)


@pytest.fixture(scope="module")
def console(bench: Workbench) -> Iterator[CloudConsole]:
    with CloudConsole(bench.cloud.client) as console:
        yield console


@pytest.fixture
def page(chromium: Browser, console: CloudConsole) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(console.url)
    yield page
    assert errors == []
    assert "broken" not in page.title()
    assert page.locator("img").count() == 0
    context.close()


def state(page: Page, name: str) -> Locator:
    # Playwright cannot write all characters of a pattern into its selector.
    pattern = re.sub(r"\W", ".", name)
    return page.locator(".graph").get_by_role("button", name=re.compile(f"^{pattern}, "))


def tokens(bench: Workbench, queue: str, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        answer = bench.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        found += [json.loads(message["Body"])["token"] for message in answer["Messages"]]
    return found


def test_a_page_follows_a_run_through_errors_shards_and_a_redrive(bench: Workbench, page: Page) -> None:
    dead = bench.sqs.create_queue(QueueName=unique("dead"))["QueueUrl"]
    arn = bench.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    queue = bench.sqs.create_queue(QueueName=unique("asks"), Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    bench.sqs.send_message(QueueUrl=dead, MessageBody="old")
    made = bench.stepfunctions.create_state_machine(name=unique("m"), definition=machine(queue), roleArn=ROLE)
    started = {"shards": ["good", "good", "bad", HOSTILE]}
    run = bench.stepfunctions.start_execution(
        stateMachineArn=made["stateMachineArn"], name=unique("run"), input=json.dumps(started)
    )["executionArn"]

    # The list comes without a load of the page, and a keyboard is enough.
    link = page.get_by_role("link", name=run.rpartition(":")[2])
    link.focus()
    page.keyboard.press("Enter")
    expect(state(page, HOSTILE)).to_have_attribute("data-status", "CAUGHT")
    expect(state(page, "Shards")).to_have_attribute("data-status", "SUCCEEDED")
    expect(state(page, "Ask")).to_have_attribute("data-status", "RUNNING")
    expect(state(page, "Unused")).to_have_attribute("data-status", "")
    expect(state(page, "Shards")).to_contain_text("3 of 4 items")
    expect(state(page, "Ask all")).to_contain_text("2 iterations")

    state(page, HOSTILE).focus()
    page.keyboard.press("Enter")
    panel = page.locator(".panel")
    expect(panel.get_by_role("heading", level=2)).to_have_text(HOSTILE)
    expect(panel).to_contain_text("2 retries")
    expect(panel.locator(".fault")).to_have_count(3)
    assert json.loads(panel.locator("h3:text('Input') + pre").inner_text()) == started

    first, second = tokens(bench, queue, 2)
    page.get_by_role("link", name="Queues").click()
    row = page.get_by_role("row").filter(has_text=queue.rpartition("/")[2]).filter(has_text="after 3 receives")
    expect(row.get_by_role("cell").nth(2)).to_have_text("2")
    expect(row.get_by_role("cell").nth(5)).to_contain_text("1")
    page.go_back()

    bench.stepfunctions.send_task_success(taskToken=first, output='"yes"')
    bench.stepfunctions.send_task_failure(taskToken=second, error="Refused", cause=HOSTILE)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".heading .badge")).to_have_text("failed")
    expect(state(page, "Ask")).to_have_attribute("data-status", "FAILED")
    expect(state(page, "Ask all")).to_have_attribute("data-status", "FAILED")

    bench.stepfunctions.redrive_execution(executionArn=run)
    page.reload()
    expect(state(page, "Ask")).to_have_attribute("data-status", "RUNNING")
    for token in tokens(bench, queue, 1):
        bench.stepfunctions.send_task_success(taskToken=token, output='"late"')
    expect(page.locator(".heading .badge")).to_have_text("succeeded")
    expect(state(page, "Ask all")).to_have_attribute("data-status", "SUCCEEDED")
    state(page, "Ask all").click(position={"x": 20, "y": 10})
    output = panel.locator("h3:text('Output') + pre")
    expect(output).to_contain_text("late")
    assert sorted(json.loads(output.inner_text())) == ["late", "yes"]

    # Down to the shard that failed.
    page.get_by_role("link", name="Shards", exact=True).click()
    page.get_by_role("row").filter(has_text="failed").get_by_role("link").click()
    expect(state(page, "Refuse")).to_have_attribute("data-status", "FAILED")
    expect(state(page, "Work")).to_have_attribute("data-status", "")
    expect(page.locator("main")).to_contain_text(f"BadShard: {HOSTILE}")


def test_alarms_are_shown_by_what_needs_attention(bench: Workbench, page: Page) -> None:
    names = [unique("a"), unique("b")]
    for name in names:
        bench.cloudwatch.put_metric_alarm(
            AlarmName=name,
            AlarmDescription=HOSTILE,
            Namespace="custom",
            MetricName=name,
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )
    bench.cloudwatch.put_metric_data(Namespace="custom", MetricData=[{"MetricName": names[1], "Value": 2}])
    page.get_by_role("link", name="Alarms").click()
    rows = page.get_by_role("row")
    expect(rows.nth(1)).to_contain_text(names[1])
    expect(rows.nth(1)).to_contain_text(HOSTILE)
    expect(rows.nth(1).locator(".badge")).to_have_text("alarm")
    expect(rows.nth(2).locator(".badge")).to_have_text("ok")


def test_charts_draw_the_widgets_of_a_dashboard(bench: Workbench, page: Page) -> None:
    name = unique("custom")
    rows = [
        [name, "Frames", "Model", HOSTILE, {"stat": "Sum"}],
        ["...", "other", {"label": "the other", "yAxis": "right"}],
        [{"expression": "SUM(METRICS())", "id": "q9", "visible": False}],
    ]
    widgets = [
        {"type": "text", "properties": {"markdown": "## Models"}},
        {"type": "metric", "properties": {"title": HOSTILE, "metrics": rows}},
        {"type": "metric", "properties": {"title": "nothing", "metrics": [[name, "None"]]}},
    ]
    bench.cloudwatch.put_dashboard(DashboardName=name, DashboardBody=json.dumps({"widgets": widgets}))
    for model, values in ((HOSTILE, (2, 3)), ("other", (0.25, 0.75))):
        dimensions = [{"Name": "Model", "Value": model}]
        data = [{"MetricName": "Frames", "Dimensions": dimensions, "Value": value} for value in values]
        bench.cloudwatch.put_metric_data(Namespace=name, MetricData=data)
    page.get_by_role("link", name="Charts").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    card = page.locator(".charts .card").filter(has_text="the other")
    expect(card.get_by_role("heading")).to_have_text(HOSTILE)
    expect(card.locator("canvas")).to_be_visible()
    expect(card.get_by_role("listitem")).to_have_text([f"{HOSTILE} 5", "the other 0.5"])
    expect(page.locator(".charts .card").filter(has_text="nothing")).to_contain_text("No datapoints.")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("api/executions", {"Host": "evil.example"}, 421),
        ("api/executions", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("api/event?arn=a&number=-1", {}, 400),
        ("api/execution?arn=arn:aws:states:us-east-1:000000000000:execution:none:none", {}, 502),
        ("static/..%2Fapplication.py", {}, 404),
        ("static/../application.py", {}, 404),
    ],
)
def test_strangers_and_malformed_addresses_are_refused(
    console: CloudConsole, path: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{console.url}{path}", headers=headers))
    assert refused.value.code == status
    assert json.loads(refused.value.read())["error"]


def test_the_page_lets_no_script_of_others_in(console: CloudConsole) -> None:
    with urllib.request.urlopen(console.url) as answer:
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
    for file in (Path(__file__).parents[2] / "console" / "static").glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", file.read_text()), file
