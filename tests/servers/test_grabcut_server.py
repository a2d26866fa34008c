"""GrabCut as a promptable segmenter keeps the contract, and says that its masks are drafts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from autolabel.labels.rle import read_bitmap
from autolabel.models import decode_masks, segmenter_request
from autolabel_cli.models.segmenter_check import check_segmenter
from autolabel_cli.models.segmenter_client import Segmenter
from local.sagemaker.in_memory import memory_cloud
from local.sagemaker.service import Service
from local.settings import CloudSettings
from local.tests.sagemaker.stand_in import SUCCESS, StandIn
from models.servers import grabcut
from models.servers.grabcut import GrabcutModel, cut
from tests.servers.serving import BAD_REQUESTS, assert_refused, serving


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(GrabcutModel()) as port:
        yield port


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    """SageMaker in memory, with GrabCut as its image."""
    cloud, objects, topics, events, roles = memory_cloud()
    settings = CloudSettings(images={"stub": [sys.executable, "-m", "models.servers.grabcut", "--port", "{port}"]})
    made = StandIn(Service(settings, cloud, tmp_path), objects, topics, events, roles, tmp_path)
    yield made
    made.service.stop()
    made.release_clients()


def disc() -> tuple[bytes, tuple[float, float, float, float]]:
    """A PNG of 120 x 80 pixels with a red disc, and the box around it."""
    image = np.random.default_rng(0).integers(90, 120, (80, 120, 3), np.uint8)
    cv2.circle(image, (60, 40), 20, (30, 30, 220), -1)
    return cv2.imencode(".png", image)[1].tobytes(), (40.0, 20.0, 81.0, 61.0)


def test_a_request_goes_through_an_asynchronous_endpoint_to_masks_that_are_drafts(stand_in: StandIn) -> None:
    stand_in.create_endpoint()
    image, box = disc()
    request = segmenter_request(image, "image/png", [box], 120, 80)
    answer = stand_in.invoke(request.body, ContentType=request.content_type, Accept="application/json")
    assert stand_in.message(SUCCESS)["invocationStatus"] == "Completed"
    body, _ = stand_in.objects.contents[answer["OutputLocation"]]
    (mask,) = decode_masks([body], 1, 120, 80)
    assert mask.draft
    assert read_bitmap(mask.rle.counts, 120, 80).sum() == pytest.approx(np.pi * 20.5**2, rel=0.05)


def test_it_keeps_every_rule_and_all_of_its_masks_are_drafts(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The rules do not depend on how finely it cuts, and this is ten times as fast.
    monkeypatch.setattr(grabcut, "_SIDE", 60)
    with Segmenter(f"http://127.0.0.1:{port}", 60) as segmenter:
        found = check_segmenter(segmenter, lambda name: None)
    assert [rule for rule in found.rules if not rule.kept] == []
    assert found.drafts == found.masks > 0


@pytest.mark.parametrize(("body", "headers", "status"), [case for case in BAD_REQUESTS if case[2] != 400])
def test_bad_requests_are_refused_as_json(port: int, body: bytes, headers: dict[str, str], status: int) -> None:
    assert_refused(port, body, {"Content_Type": "multipart/form-data; boundary=x", **headers}, status)


def test_an_object_that_stands_free_is_cut_out_the_same_after_any_other() -> None:
    image = np.random.default_rng(0).integers(90, 120, (200, 320, 3), np.uint8)
    truth = np.zeros((200, 320), np.uint8)
    cv2.ellipse(truth, (100, 90), (50, 30), 20, 0, 360, 1, -1)
    image[truth > 0] = 200, 40, 40
    left, top, width, height = cv2.boundingRect(truth)
    box = (float(left), float(top), float(left + width), float(top + height))
    first = cut(image, box).pixels
    cut(image, (10.0, 10.0, 60.0, 150.0))
    assert (cut(image, box).pixels == first).all()
    assert np.sum(first & (truth > 0)) > 0.95 * np.sum(first | (truth > 0))
    # A box around all of one colour shows nothing to part.
    assert not cut(np.full((50, 50, 3), 90, np.uint8), (20.0, 20.0, 21.0, 21.0)).pixels[:10].any()
