"""A real Chromium at the portal of a stand-in, whose job has frames that are drawn here."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, sync_playwright

from autolabel.labels.taxonomy import current_taxonomy
from autolabel.verification.jobs import label_categories, worker_template
from local.portal.server import Portal
from local.tests.browser.annotator import Annotator
from local.tests.portal.conftest import clock, open_browser, portal, stand_in
from local.tests.sagemaker.jobs import start_job
from local.tests.sagemaker.stand_in import StandIn

__all__ = ["clock", "open_browser", "portal", "stand_in"]

ANNOTORIOUS = Path(__file__).parents[3] / ".node" / "portal" / "node_modules" / "@annotorious" / "annotorious"
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LABELS = ("car", "van", "truck", "bus", "motorcycle", "bicycle", "person", "rider", "traffic light", "ignore")
# At a window of 1280 × 720 the portal shows an image of this size pixel for pixel.
SIZE = (1048, 600)

Box = tuple[str, int, int, int, int]
BOXES: tuple[Box, ...] = (
    ("car", 100, 330, 160, 90),
    ("truck", 420, 250, 200, 180),
    ("person", 700, 340, 40, 110),
    ("car", 860, 350, 60, 40),
)
UNCERTAINTY = {
    "level": 0.6,
    "boxes": [0.1, 0.6, 0.02, 0.3],
    "why": ["near the threshold"],
    "ghosts": [
        {"label": "bicycle", "left": 300, "top": 400, "width": 50, "height": 40, "confidence": 0.44, "threshold": 0.5},
        {"label": "car", "left": 640, "top": 330, "width": 30, "height": 20, "confidence": 0.2, "threshold": 0.5},
    ],
}


def street(boxes: Sequence[Box]) -> bytes:
    """Draw a street as JPEG: sky, road, a block of colour for each box."""
    picture = Image.new("RGB", SIZE, (126, 160, 190))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 300, *SIZE), fill=(84, 84, 88))
    draw.polygon([(500, 300), (548, 300), (700, 600), (340, 600)], fill=(104, 104, 108))
    for name, left, top, width, height in boxes:
        color = current_taxonomy().colors.get(name, "#888888")
        draw.rectangle((left, top, left + width - 1, top + height - 1), fill=color, outline="black")
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return content.getvalue()


def line(n: int, boxes: Sequence[Box], uncertainty: dict[str, Any] | None = None) -> dict[str, Any]:
    names = list(dict.fromkeys(box[0] for box in boxes))
    annotations = [
        {"class_id": names.index(name), "left": left, "top": top, "width": width, "height": height}
        for name, left, top, width, height in boxes
    ]
    return {
        "source-ref": f"s3://drives/{n}.jpg",
        "review-ref": f"s3://drives/{n}.jpg",
        "provenance": {"drive": "2026-01-01-a", "camera": "front", "timestamp": f"17672256{n:02}250000000"},
        "prelabel": {"image_size": [{"width": SIZE[0], "height": SIZE[1], "depth": 3}], "annotations": annotations},
        "prelabel-metadata": {
            "objects": [{"confidence": 0.5} for _ in boxes],
            "class-map": {str(i): name for i, name in enumerate(names)},
            "type": "groundtruth/object-detection",
            "human-annotated": "no",
            "creation-date": "2026-01-01T00:00:00.000000",
            "job-name": "run-1",
        },
        **({"doubt": uncertainty} if uncertainty else {}),
    }


def apart(act: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """Call in another thread: Playwright's event loop runs in this one, and the stand-in starts one too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(act, *values, **named).result()


# Not for the whole session: other modules' tests run event loops in this thread.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} does not exist: apt-get install chromium")
    if not ANNOTORIOUS.is_dir():
        pytest.skip("Annotorious is not installed: make setup-portal")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


OpenPortal = Callable[..., Annotator]


@pytest.fixture
def review(chromium: Browser, stand_in: StandIn, portal: Portal) -> Iterator[OpenPortal]:
    """Open a job of these frames, each with boxes and uncertainty, at its first task."""
    with ExitStack() as stack:

        def open_portal(
            frames: Sequence[tuple[Sequence[Box], dict[str, Any] | None]] = ((BOXES, UNCERTAINTY), (BOXES[:1], None)),
            labels: Sequence[str] = LABELS,
            header: str | None = None,
        ) -> Annotator:
            template = worker_template(current_taxonomy().colors, labels).decode()
            if header:
                template = re.sub(r'header="Correct[^"]*right class"', 'header="{{ task.input.header }}"', template)
            stand_in.objects.put("s3://labels/labels.json", label_categories(labels))
            apart(
                start_job,
                stand_in,
                *(line(n, boxes, uncertainty) for n, (boxes, uncertainty) in enumerate(frames)),
                template=template,
                LabelCategoryConfigS3Uri="s3://labels/labels.json",
                HumanTaskConfig={"TaskDescription": header or "Correct the boxes"},
            )
            for n, (boxes, _) in enumerate(frames):
                stand_in.objects.put(f"s3://drives/{n}.jpg", street(boxes), "image/jpeg")
            context = chromium.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
            stack.callback(context.close)
            # A page that is sending an answer asks before it is left, and no one can confirm here.
            context.add_init_script("addEventListener('beforeunload', (event) => event.stopImmediatePropagation())")
            annotator = Annotator(context.new_page(), f"{portal.url}jobs/Drive-1/")
            annotator.open(0)
            return annotator

        yield open_portal
