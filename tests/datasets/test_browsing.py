"""The page of a dataset, and its server."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autolabel.reporting import worker_name
from autolabel_cli.__main__ import main
from autolabel_cli.browsing.frames import Frames, PageContent
from autolabel_cli.browsing.page import render_page, write_page
from autolabel_cli.browsing.server import PageServer
from autolabel_cli.datasets import browsing
from autolabel_cli.errors import CommandError
from tests.datasets.drives import Labelled, Shelf, as_manifest, boxes_of, key_of

CAR = Labelled("car", 2, 3, 20, 10)
BUS = Labelled("bus", 30, 5, 30, 40)
ANY_BOX = st.builds(
    Labelled, st.sampled_from(["car", "bus", "van"]), *(st.integers(0, 20),) * 2, *(st.integers(1, 30),) * 2
)


def content_of(*lines: object) -> PageContent:
    frames = Frames()
    frames.take((json.dumps(line).encode() for line in lines), "dataset.manifest")
    return frames.content("a drive")


@given(st.lists(ANY_BOX, max_size=5), st.lists(ANY_BOX, max_size=5))
def test_the_page_has_each_box_of_the_label_once_with_its_track(shown: list[Labelled], left: list[Labelled]) -> None:
    line = Shelf().frame(key_of(), left)
    line["prelabel"], line["prelabel-metadata"] = boxes_of(shown, 64, 48)
    line["tracks"] = [f"track {n}" for n in range(len(left))]
    content = content_of(line)
    (frame,) = content.frames
    tracks = [content.tracks[box.track] for box in frame.boxes]
    assert sorted(tracks) == line["tracks"]
    for box, track in zip(frame.boxes, tracks, strict=True):
        own = left[int(track.split()[1])]
        assert (content.classes[box.name], box.left, box.top, box.width, box.height) == own[:5]
    gone = [box for box in frame.before if box.change in ("deleted", "ignored")]
    changes = Counter(box.change for box in (*frame.boxes, *gone))
    assert frame.changes == {kind: count for kind, count in changes.items() if kind != "kept"}
    assert len(frame.before) == len(shown) - changes["kept"]


def test_text_of_a_dataset_cannot_leave_its_place() -> None:
    hostile = "</script><script>alert(1)</script><!--"
    line = Shelf().frame(key_of(), [CAR], source=hostile, failures=[hostile])
    line["review"] = {"worker": hostile, "comment": hostile}
    frames = Frames()
    frames.take([json.dumps(line).encode()], "a file")
    page = render_page(frames.content(hostile))
    assert page.count("<script") == page.count("</script>") == 4
    assert "<!--" not in page
    (held,) = re.findall(r'<script id="content" type="application/json">(.*?)</script>', page, re.DOTALL)
    (frame,) = json.loads(held)["frames"]
    assert (frame["source"], frame["comment"], frame["reviewer"]) == (hostile, hostile, worker_name(hostile))


def test_a_line_that_is_not_of_a_dataset_is_named() -> None:
    line = Shelf().frame(key_of(), [CAR])
    with pytest.raises(CommandError, match=r"dataset\.manifest cannot be read in line 2: .*drives/a/b"):
        content_of(line, line | {"source-ref": "s3://ingest/drives/a/b/../../secret.png"})


def test_a_frame_without_boxes_to_show_is_counted() -> None:
    line = Shelf().frame(key_of(), [CAR])
    del line["prelabel"], line["prelabel-metadata"]
    assert content_of(line, Shelf().frame(key_of(index=1), [BUS])).unreadable == 1


def test_a_page_beside_a_dataset_names_the_images_beside_it(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset.manifest"
    dataset.write_bytes(as_manifest([Shelf().frame(key_of(), [CAR])]))
    assert f'"image":"{key_of().key}"' in write_page(dataset).read_text(encoding="utf-8")


@contextmanager
def serving(server: PageServer) -> Iterator[str]:
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def test_the_server_gives_the_page_and_its_images_alone(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    one, changed = key_of(), key_of(index=1)
    shelf.publish("drive-a", [shelf.frame(one, [CAR]), shelf.frame(changed, [BUS])])
    shelf.ingest.write(changed.key, b"other bytes")
    shelf.ingest.write("drives/drive-a/front/secret.png", b"no frame of the page")
    answers = {}

    def serve(server: PageServer) -> None:
        with serving(server) as url:
            answers[""] = get(url)
            for path in (one.key, changed.key, "drives/drive-a/front/secret.png", "%2e%2e/" + one.key):
                answers[path] = get(url + path)
            answers["no token"] = get(url.rsplit("/", 2)[0] + "/" + one.key)

    monkeypatch.setattr(browsing, "serve", serve)
    ended = CliRunner().invoke(main, ["browse", "drive-a", "--no-open"], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    assert "2 frames at http://127.0.0.1:" in ended.output
    assert answers.pop("")[0] == 200
    assert answers.pop(one.key) == (200, shelf.ingest.read(one.key))
    status, said = answers.pop(changed.key)
    assert status == 502
    assert changed.key.encode() in said
    assert {status for status, _ in answers.values()} == {404}


def test_a_port_in_use_is_named(shelf: Shelf) -> None:
    shelf.publish("drive-a", [shelf.frame(key_of(), [CAR])])
    with PageServer(0, "", lambda key: b"") as other:
        port = str(other.server_port)
        ended = CliRunner().invoke(main, ["browse", "drive-a", "--port", port, "--no-open"])
    assert ended.exit_code == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in ended.output
