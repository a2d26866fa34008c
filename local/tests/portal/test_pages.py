"""The portal's pages: their content, their visitors, and the safe display of a manifest's values."""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.portal.application import BODY_BYTES
from local.records import KeptRecords
from local.sagemaker.ground_truth.annotation_files import worker_answer
from local.sagemaker.ground_truth.annotators import Boxes
from local.sagemaker.in_memory import memory_cloud
from local.sagemaker.service import Service
from local.settings import PEOPLE, CloudSettings
from local.tests.portal.browser import IMAGE, Browser, attribute
from local.tests.portal.conftest import Clock
from local.tests.sagemaker.jobs import ended_job, manifest_line, start_job
from local.tests.sagemaker.stand_in import StandIn, eventually

ADJUST = """<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form>
<crowd-bounding-box name="boundingBox" src="{{ task.input.manifestLine.review-ref | grant_read_access }}"
  header="{{ task.input.header }}" labels="{{ task.input.labels | to_json | escape }}"
  initial-value="[{% for box in task.input.manifestLine.pre.annotations %}{% capture id %}{{ box.class_id
  }}{% endcapture %}{% assign label = task.input.manifestLine.pre-metadata.class-map[id] %}{label: {{ label | to_json
  }}, left: {{ box.left }}},{% endfor %}]">{{ task.input.manifestLine.nothing.there }}</crowd-bounding-box>
</crowd-form>"""


def _frame(name: str, **changes: Any) -> dict[str, Any]:
    reference = f"s3://drives/{name}.png"
    return manifest_line(changes={"source-ref": reference, "review-ref": reference, **changes})


def test_a_portal_without_jobs_says_so(browser: Browser) -> None:
    page = browser.get("/")
    assert page.status == 200
    assert "No jobs yet" in page.text


def test_the_page_is_the_jobs_template_with_the_frames_values(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    page = browser.get("/jobs/Drive-1/tasks/0").text
    assert "https://assets.crowd.aws" not in page
    assert '<script src="/static/crowd-elements.js"></script>' in page
    assert json.loads(html.unescape(attribute(page, "labels"))) == ["person", "car"]
    assert html.unescape(attribute(page, "initial-value")) == '[{label: "car", left: 10},]'
    assert attribute(page, "header") == "Verify the boxes"
    image = browser.get(attribute(page, "src"))
    assert (image.status, image.body, image.headers["Content-Type"]) == (200, b"png", "image/png")
    assert "immutable" in image.headers["Cache-Control"]


def test_a_finished_job_leads_to_the_next_open_one(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    assert 'href="/jobs/Drive-1/"' in browser.get("/").text
    browser.submit("/jobs/Drive-1/tasks/0")
    ended_job(stand_in)
    alone = browser.get("/jobs/Drive-1/").text
    assert "All done" in alone
    assert "Next job" not in alone
    # The page reloads for frames that come back for a second review.
    assert 'http-equiv="refresh"' in alone
    start_job(stand_in, _frame("1"), template=ADJUST, LabelingJobName="Drive-again-1")
    assert 'href="/jobs/Drive-again-1/"' in browser.get("/jobs/Drive-1/").text
    jobs = browser.get("/").text
    assert 'href="/jobs/Drive-again-1/"' in jobs
    assert 'href="/jobs/Drive-1/"' not in jobs


HOSTILE = "\"></crowd-bounding-box><script>alert(1)</script>'{{ 7 | times: 6 }}"


def test_hostile_values_in_a_manifest_stay_text(stand_in: StandIn, browser: Browser) -> None:
    stand_in.objects.put(f"s3://drives/{HOSTILE}.png", b"png")
    line = _frame("1", **{"review-ref": f"s3://drives/{HOSTILE}.png"})
    line["pre-metadata"]["class-map"] = {"7": HOSTILE}
    # Its label would be refused in the end; this test needs only its page.
    start_job(stand_in, line, _frame("2"), template=ADJUST, HumanTaskConfig={"TaskDescription": HOSTILE})
    job = stand_in.service.jobs.find("Drive-1")
    assert job
    assert job.desk
    page = job.desk.render(0)
    assert page.count("<script") == 1
    assert "alert(1)" in page
    assert "42" not in page
    assert html.unescape(attribute(page, "header")) == HOSTILE
    assert json.dumps(HOSTILE) in html.unescape(attribute(page, "initial-value"))
    assert browser.get(attribute(page, "src")).status == 200


def test_a_hostile_title_stays_text_in_the_list_of_jobs(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST, HumanTaskConfig={"TaskTitle": HOSTILE})
    page = browser.get("/").text
    assert "<script" not in page
    assert HOSTILE in html.unescape(page)


def test_an_uploaded_html_page_is_never_served_as_html(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    stand_in.objects.put("s3://drives/1.png", b"<script>alert(1)</script>", "text/html")
    image = browser.get(attribute(browser.get("/jobs/Drive-1/tasks/0").text, "src"))
    assert image.headers["Content-Type"] == "image/png"
    assert image.headers["X-Content-Type-Options"] == "nosniff"


def test_only_granted_images_are_served(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    stand_in.objects.put("s3://labels/secret.png", b"secret")
    granted = attribute(browser.get("/jobs/Drive-1/tasks/0").text, "src")
    for forged in (granted[:-1], granted[:9] + ("A" if granted[9] != "A" else "B") + granted[10:], "/images/x"):
        assert browser.get(forged).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static//etc/passwd",
        "/static/package.json",
        "/static/annotorious.es.js.map",
        "/static/",
        "/images/../../etc/passwd",
        "//evil.example/",
        "/jobs/../",
        "/jobs/none/",
        "/jobs/Drive-1/tasks/1",
        "/jobs/Drive-1/tasks/-1",
        "/jobs/Drive-1/tasks/999999999999",
        "/favicon.ico",
    ],
)
def test_unknown_addresses_are_not_found(stand_in: StandIn, browser: Browser, path: str) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    assert browser.get(path).status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.x"]
)
def test_another_host_name_is_refused(browser: Browser, host: str) -> None:
    port = browser.host.partition(":")[2]
    answer = browser.send("GET", "/", headers={"Host": host.format(port=port)})
    assert answer.status == 421
    assert "Labelling jobs" not in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1", "null", ""])
@pytest.mark.parametrize(("method", "place"), [("POST", "answer"), ("PUT", "draft")])
def test_an_answer_from_another_site_is_refused(
    stand_in: StandIn, browser: Browser, origin: str, method: str, place: str
) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    refused = browser.send(method, f"/jobs/Drive-1/tasks/0/{place}", b"{}", {"Origin": origin})
    assert refused.status == 403
    job = stand_in.sagemaker.describe_labeling_job(LabelingJobName="Drive-1")
    assert job["LabelCounters"]["Unlabeled"] == 1


def test_other_sites_may_link_only_to_the_list_of_jobs(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert browser.send("GET", "/", headers=elsewhere).status == 200
    for path in ("/jobs/Drive-1/", "/jobs/Drive-1/tasks/0", "/jobs/Drive-1/left"):
        assert browser.send("GET", path, headers=elsewhere).status == 403


def test_localhost_is_accepted_as_host(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    browser.host = browser.host.replace("127.0.0.1", "localhost")
    assert browser.submit(browser.next_task() or "").status == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("PUT", "/static/portal.css"), ("GET", "/jobs/a/tasks/0/answer")]
)
def test_an_unsupported_method_is_refused(browser: Browser, method: str, path: str) -> None:
    assert browser.send(method, path, headers={"Origin": f"http://{browser.host}"}).status == 405


def test_pages_forbid_content_and_frames_of_other_sites(browser: Browser) -> None:
    policy = browser.get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_reviewers_get_different_frames(stand_in: StandIn, open_browser: Callable[[], Browser]) -> None:
    start_job(stand_in, *(_frame(str(n)) for n in range(3)), template=ADJUST)
    first, second, third, fourth = (open_browser() for _ in range(4))
    tasks = [worker.next_task() for worker in (first, second, third)]
    assert sorted(tasks, key=str) == [f"/jobs/Drive-1/tasks/{n}" for n in range(3)]
    # Each reviewer keeps their own frame.
    assert [worker.next_task() for worker in (first, second, third)] == tasks
    assert fourth.next_task() is None
    assert "Other reviewers have the last frames" in fourth.get("/jobs/Drive-1/").text
    assert fourth.get(tasks[0] or "").status == 409


def test_a_second_look_waits_for_another_person_unless_one_may_give_both(
    stand_in: StandIn, open_browser: Callable[[], Browser]
) -> None:
    start_job(stand_in, *(_frame(str(n)) for n in range(2)), template=ADJUST)
    only = open_browser()
    for n in range(2):
        only.get(f"/jobs/Drive-1/tasks/{n}")
        only.submit(f"/jobs/Drive-1/tasks/{n}")
    ended_job(stand_in)
    # The third frame had no answer in the first round.
    again, tags = "/jobs/Drive-again-1/", [{"Key": "second-look-at", "Value": "Drive"}]
    frames = (_frame("1"), _frame("0"), _frame("2"))
    start_job(stand_in, *frames, template=ADJUST, LabelingJobName="Drive-again-1", Tags=tags)
    assert only.next_task("Drive-again-1") == f"{again}tasks/2"
    only.submit(f"{again}tasks/2")
    told = only.get(again).text
    assert "No other person has worked here yet" in told
    other = open_browser()
    assert other.next_task("Drive-again-1") == f"{again}tasks/0"
    assert "No other person" not in only.get(again).text
    assert only.send("POST", "/second-looks/one-person").status == 403
    allowed = only.send("POST", "/second-looks/one-person", b"", {"Origin": f"http://{only.host}"})
    assert allowed.status == 204
    assert "one person may give both looks" in only.get("/").text
    assert only.next_task("Drive-again-1") == f"{again}tasks/1"


def test_who_gave_the_first_look_is_known_after_a_restart(tmp_path: Path) -> None:
    cloud, *fakes = memory_cloud()
    records = KeptRecords(tmp_path / "kept", threading.Event())
    before, after = (Service(CloudSettings(annotator=PEOPLE), cloud, tmp_path, records=records) for _ in range(2))
    stand_in = StandIn(before, *fakes, tmp_path)
    start_job(stand_in, _frame("1"), template=ADJUST)
    before.jobs.allow_one_person(True)
    job = before.jobs.find("Drive-1")
    assert job
    assert job.desk
    content = {"boundingBox": {"boundingBoxes": [], "inputImageProperties": IMAGE}}
    assert job.desk.submit(0, Boxes((), (640, 272)), worker_answer("ann", content, 0.0, 1.0, 1.0))
    ended_job(stand_in)
    before.stop()
    after.jobs.resume()
    known = after.jobs.find("Drive-1")
    assert known
    assert (known.answered, after.jobs.one_person) == ({"ann": {"s3://drives/1.png"}}, True)
    after.stop()
    stand_in.release_clients()


def test_frames_of_a_reviewer_who_left_can_be_taken_over(
    stand_in: StandIn, open_browser: Callable[[], Browser], clock: Clock
) -> None:
    start_job(stand_in, _frame("1"), _frame("2"), template=ADJUST)
    gone, here = open_browser(), open_browser()
    task = gone.next_task() or ""
    clock.now += 1
    gone.get(f"{task}/context")
    assert here.next_task() is None
    assert here.get("/jobs/Drive-1/left").headers["Location"] == task
    assert here.get(task).status == 200
    assert here.submit(task).status == 200
    assert here.get("/jobs/Drive-1/left").headers["Location"] == "/jobs/Drive-1/tasks/1"
    # If the first reviewer returns after all, their work still counts.
    assert gone.submit("/jobs/Drive-1/tasks/1").status == 200


def test_a_frame_goes_to_another_reviewer_after_its_time_limit(
    stand_in: StandIn, open_browser: Callable[[], Browser], clock: Clock
) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    slow, quick = open_browser(), open_browser()
    task = slow.next_task() or ""
    clock.now += 599
    assert quick.next_task() is None
    clock.now += 2
    assert quick.next_task() == task
    # The first answer counts, also after the time limit.
    assert slow.submit(task).status == 200
    assert quick.submit(task).status in (409, 410)


def test_the_context_names_the_next_task_and_neighbouring_frames(stand_in: StandIn, browser: Browser) -> None:
    # Most uncertain first: the manifest is not in order of time.
    names = ["front/3", "rear/1", "front/1", "front/2"]
    start_job(stand_in, *(_frame(name) for name in names), template=ADJUST)
    context = browser.get("/jobs/Drive-1/tasks/3/context").document
    shown = {"label": "car", "left": 10, "top": 20, "width": 30, "height": 40}
    images = {name: attribute(browser.get(f"/jobs/Drive-1/tasks/{n}").text, "src") for n, name in enumerate(names)}
    assert context == {
        "job": "Drive-1",
        "task": 3,
        "done": 0,
        "total": 4,
        "next": "/jobs/Drive-1/tasks/0",
        "next_image": images["front/3"],
        "before": {"image": images["front/1"], "boxes": [shown]},
        "after": {"image": images["front/3"], "boxes": [shown]},
        "proposed": [],
        "draft": None,
        "sent": None,
    }
    alone = browser.get("/jobs/Drive-1/tasks/1/context").document
    assert (alone["before"], alone["after"]) == (None, None)


def test_neighbours_have_the_boxes_that_their_reviewers_left(
    stand_in: StandIn, open_browser: Callable[[], Browser]
) -> None:
    empty = _frame("2")
    del empty["pre"]
    start_job(stand_in, _frame("1"), empty, _frame("3"), _frame("4"), template=ADJUST)
    browser, other = open_browser(), open_browser()
    assert other.submit("/jobs/Drive-1/tasks/1", ("person", 1, 2, 3, 4)).status == 200
    context = browser.get("/jobs/Drive-1/tasks/2/context").document
    assert [box["label"] for box in context["before"]["boxes"]] == ["person"]
    assert [box["label"] for box in context["after"]["boxes"]] == ["car"]
    # A frame without a pre-label may be one that must not be led by any boxes.
    context = other.get("/jobs/Drive-1/tasks/1/context").document
    assert [context[side]["boxes"] for side in ("before", "after")] == [[], []]


def test_the_next_task_is_reserved_for_its_worker(stand_in: StandIn, open_browser: Callable[[], Browser]) -> None:
    start_job(stand_in, *(_frame(str(n)) for n in range(3)), template=ADJUST)
    first, second = open_browser(), open_browser()
    task = first.next_task() or ""
    following = first.get(f"{task}/context").document["next"]
    assert second.next_task() not in (task, following)
    assert first.submit(task).document["next"] == following


def test_a_draft_is_returned_only_to_its_worker(stand_in: StandIn, open_browser: Callable[[], Browser]) -> None:
    start_job(stand_in, _frame("1"), _frame("2"), template=ADJUST)
    first, second = open_browser(), open_browser()
    task = first.next_task() or ""
    for draft in ({"boxes": [1]}, {"boxes": [1, 2]}):
        assert first.write("PUT", f"{task}/draft", draft).status == 204
    assert first.get(f"{task}/context").document["draft"] == {"boxes": [1, 2]}
    assert second.get(f"{task}/context").document["draft"] is None
    first.submit(task)
    assert first.get(f"{task}/context").document["draft"] is None
    assert second.write("PUT", f"{task}/draft", {}).status == 409


def test_a_draft_that_is_too_large_is_refused(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    path = "/jobs/Drive-1/tasks/0/draft"
    assert browser.write("PUT", path, "x" * (BODY_BYTES - 2)).status == 204
    assert browser.write("PUT", path, "x" * (BODY_BYTES - 1)).status == 413


def test_the_list_of_jobs_shows_their_progress(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, *(_frame(str(n)) for n in range(4)), template=ADJUST)
    assert ">Start</a>" in browser.get("/").text
    browser.submit(browser.next_task() or "", review='{"seconds": 7.25}')
    page = browser.get("/").text
    assert ">Continue</a>" in page
    assert "<b>1</b> of 4 frames" in page
    assert "<b>7.2 s</b> per frame" in page
    stand_in.sagemaker.stop_labeling_job(LabelingJobName="Drive-1")
    eventually(lambda: "<span>Stopped</span>" in browser.get("/").text)


def test_after_the_last_answer_the_job_page_says_all_done(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, _frame("1"), template=ADJUST)
    assert browser.submit(browser.next_task() or "").document == {"next": None}
    assert browser.get("/jobs/Drive-1/").status == 200
    ended_job(stand_in)
    over = browser.get("/jobs/Drive-1/")
    assert over.status == 200
    assert "All done" in over.text


def test_later_frames_come_before_earlier_ones(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, *(_frame(str(n)) for n in range(4)), template=ADJUST)

    def following(number: int) -> str:
        next_task: str = browser.get(f"/jobs/Drive-1/tasks/{number}/context").document["next"]
        return next_task.rpartition("/")[2]

    # At the end, it returns to a frame that the reviewer already has.
    assert [following(n) for n in (1, 2, 3)] == ["2", "3", "2"]
