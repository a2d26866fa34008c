"""Measure the sequence page in Chromium: `python -m local.tests.browser.measure_sequence [FRAMES TRACKS]`.

Plays a strip and prints the script's time for each frame, long tasks, the cost of edits, and allocations. The figures
depend on the machine and the renderer, whose name is printed; no test holds them.
"""

from __future__ import annotations

import io
import json
import os
import random
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright

from local.portal.server import Portal
from local.sagemaker.in_memory import memory_cloud
from local.sagemaker.service import Service
from local.settings import PEOPLE, CloudSettings
from local.tests.browser.conftest import ARGUMENTS, CHROMIUM, apart
from local.tests.sagemaker.sequences import LABELS, Place, sequence_line, start_sequences
from local.tests.sagemaker.stand_in import StandIn

# Counts the time of the callbacks of animation frames in which the page shows another frame, and long tasks.
WATCH = """() => {
  const place = document.querySelector(".portal-place").firstChild;
  const times = new Float64Array(100000);
  window.watched = { times, frames: 0, long: [] };
  new PerformanceObserver((list) => window.watched.long.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: "longtask" });
  const ask = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (act) => ask((now) => {
    const before = place.data;
    const begun = performance.now();
    act(now);
    if (place.data !== before) times[window.watched.frames++] = performance.now() - begun;
  });
}"""


def main() -> None:
    frames, tracks = (int(value) for value in sys.argv[1:3] or ("500", "40"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        # Images that are all decoded at once leave the page nothing but to draw: what it allocates then is per frame.
        for name, size, act in (("time", (1242, 375), _times), ("memory", (480, 270), _allocations)):
            context = browser.new_context(viewport={"width": 1280, "height": 720})
            print(f"{name}: {frames} frames of {size[0]} × {size[1]}, {tracks} tracks")
            _with_strip(context, size, frames, tracks, act)
            context.close()
        browser.close()


def _with_strip(context: BrowserContext, size: tuple[int, int], frames: int, tracks: int, act: Any) -> None:
    cloud, *fakes = memory_cloud()
    with tempfile.TemporaryDirectory() as folder:
        stand_in = StandIn(Service(CloudSettings(annotator=PEOPLE), cloud, Path(folder)), *fakes, Path(folder))
        boxes = _boxes(frames, tracks, size)
        apart(start_sequences, stand_in, sequence_line(), boxes=boxes, images=_images(frames, size))
        portal = Portal(stand_in.service.jobs, socket.create_server(("127.0.0.1", 0)))
        portal.start()
        page = context.new_page()
        page.goto(f"{portal.url}jobs/Drive-1/tasks/0")
        page.locator(".strip[data-ready]").wait_for()
        page.keyboard.press("Tab")
        act(context, page, frames)
        page.goto("about:blank")
        portal.close()
        stand_in.service.stop()
        stand_in.release_clients()


def _play(page: Page, frames: int) -> None:
    page.keyboard.press("Escape")
    for key in ("Home", "ArrowUp", ">", ">", "Home", "Space"):
        page.keyboard.press(key)
    page.get_by_text(f"Frame {frames} of {frames}").wait_for(timeout=180_000)


def _times(context: BrowserContext, page: Page, frames: int) -> None:
    page.evaluate(WATCH)
    session = context.new_cdp_session(page)
    # Time of the processor: other work of the machine does not count.
    session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    session.send("Performance.enable")
    before = _script_seconds(session)
    browser = context.browser
    assert browser
    browser.start_tracing(
        page=page, categories=["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
    )
    _play(page, frames)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {one["tid"] for one in events if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"}
    tasks = [one["tdur"] / 1000 for one in events if one["name"] == "RunTask" and one["tid"] in main and "tdur" in one]
    print(f"  tasks: {len(tasks)}, the longest {max(tasks, default=0):.0f} ms of the processor")
    if trace := os.environ.get("TRACE"):
        Path(trace).write_text(json.dumps(events))
    scripts = sorted(one["tdur"] / 1000 for one in events if one["name"] == "FireAnimationFrame" and "tdur" in one)
    # Between two frames of the strip, the page has nothing to draw.
    drawn = scripts[-frames:]
    print(f"  processor time of the script that draws a frame: {_spread(drawn)}")
    all_script = 1000 * (_script_seconds(session) - before) / frames
    print(f"  all script while playing, for each frame, processor time: {all_script:.2f} ms")
    times, long = page.evaluate(
        "() => [[...window.watched.times.slice(0, window.watched.frames)], window.watched.long]"
    )
    print(f"  the same by the clock on the wall: {_spread(sorted(times))}")
    print(f"  over {len(times)} frames; long tasks: {[round(one) for one in long] or 'none'}")
    for key in ("k", "Alt+ArrowLeft", "2", "ArrowLeft", "s", "Control+z", "Tab", "a", "ArrowDown", "m", "Escape"):
        page.evaluate("() => { window.watched.long.length = 0; }")
        begun = _script_seconds(session)
        page.keyboard.press(key)
        page.wait_for_timeout(700)
        long = [round(one) for one in page.evaluate("() => window.watched.long")] or "none"
        print(f"  {key}: {1000 * (_script_seconds(session) - begun):.1f} ms of the processor; long tasks: {long}")
    renderer = page.evaluate(
        """() => { const gl = document.createElement("canvas").getContext("webgl");
                   const info = gl?.getExtension("WEBGL_debug_renderer_info");
                   return gl ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "software canvas, no WebGL"; }"""
    )
    print(f"  renderer: {renderer}")


def _spread(times: list[float]) -> str:
    middle, late = times[len(times) // 2], times[int(len(times) * 0.99)]
    return f"median {middle:.2f} ms, 99 % {late:.2f} ms, most {times[-1]:.2f} ms"


def _script_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "ScriptDuration"))


def _allocations(context: BrowserContext, page: Page, frames: int) -> None:
    # The first time decodes the images, and lets the engine compile what the second time measures.
    _play(page, frames)
    session = context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    sampling = {
        "samplingInterval": 256,
        "includeObjectsCollectedByMajorGC": True,
        "includeObjectsCollectedByMinorGC": True,
    }
    session.send("HeapProfiler.startSampling", sampling)
    _play(page, frames)
    head = session.send("HeapProfiler.stopSampling")["profile"]["head"]
    found: dict[str, int] = {}

    def walk(node: dict[str, Any], plays: bool) -> None:
        called = node["callFrame"]
        if called["functionName"] == "#show":
            # At the end of the strip, once.
            return
        # What keys do is not per frame.
        plays = plays or called["functionName"] in ("tick", "#tick")
        if plays:
            name = f"{called['functionName']} ({called['url'].rpartition('/')[2]})"
            found[name] = found.get(name, 0) + node["selfSize"]
        for child in node["children"]:
            walk(child, plays)

    walk(head, False)
    print(f"  allocated while playing: {sum(found.values()) / frames:.0f} bytes a frame")
    for name, size in sorted(found.items(), key=lambda one: -one[1])[:6]:
        print(f"    {name}: {size / frames:.0f} bytes a frame")


def _boxes(frames: int, tracks: int, size: tuple[int, int]) -> list[Place]:
    drawn = random.Random(7)
    width, height = size
    found: list[Place] = []
    for number in range(tracks):
        left, top, by = drawn.randrange(width // 2), drawn.randrange(height // 2), drawn.random() * width / 3 / frames
        for n in range(frames):
            attributes = {"uncertainty": f"{drawn.random():.2f}"}
            found.append((n, f"id-{number}", LABELS[number % 2], round(left + by * n), top, 60, 40, attributes))
    return found


def _images(frames: int, size: tuple[int, int]) -> list[bytes]:
    made = []
    for number in range(10):
        content = io.BytesIO()
        Image.effect_noise(size, 10 + 5 * number).convert("RGB").save(content, "JPEG", quality=80)
        made.append(content.getvalue())
    return [made[n % len(made)] for n in range(frames)]


if __name__ == "__main__":
    main()
