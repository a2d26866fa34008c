"""`autolabel evaluate steadiness`: births, deaths, gaps and noise of pre-labels, without labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autolabel_cli.__main__ import main
from tests.fakes.lines import line


def evaluate(path: Path, boxes: Sequence[Sequence[tuple[float, float]]], *more: str, cameras: int = 1) -> Result:
    """Measure cars of 60 x 40 pixels, given by frame, left and shake, ten frames a second."""
    rows = []
    for camera in range(cameras):
        for index, places in enumerate(boxes):
            row = json.loads(line(index, [("car", left, 50, left + 60 + shake, 90) for left, shake in places]))
            row["provenance"] |= {"camera": f"camera-{camera}", "timestamp": str(index * 100_000_000)}
            rows.append(json.dumps(row))
    path.write_text("\n".join(rows) + "\n")
    return CliRunner().invoke(main, ["evaluate", "steadiness", str(path), "--json", *more])


def measured(*given: Any, **more: Any) -> tuple[dict[str, float], dict[str, float]]:
    ended = evaluate(*given, **more)
    assert ended.exit_code == 0, ended.output
    document = json.loads(ended.stdout)
    return document["raw"], document["tracks"]


@pytest.mark.parametrize("cameras", [1, 2])
def test_gaps_ends_and_single_boxes_are_counted(tmp_path: Path, cameras: int) -> None:
    # A car in all frames but one, and a box in a single frame.
    boxes = [[(10.0 + 5 * n, 0.0)] if n != 10 else [] for n in range(20)]
    boxes[4].append((400.0, 0.0))
    raw, tracks = measured(tmp_path / "m", boxes, cameras=cameras)
    assert (raw["boxes"], raw["ends"], raw["gaps"]) == (20 / 20, 4 / 20, cameras)
    assert (tracks["boxes"], tracks["ends"], tracks["gaps"]) == (20 / 20, 0, 0)
    assert raw["jitter"] == pytest.approx(0, abs=1e-9)


def test_every_second_frame_can_be_taken(tmp_path: Path) -> None:
    boxes = [[(10.0 + 5 * n, 0.0)] if n != 11 else [] for n in range(20)]
    assert measured(tmp_path / "m", boxes, "--every", "2")[0]["ends"] == 0


def test_jitter_is_the_noise_of_a_side(tmp_path: Path) -> None:
    # One of four sides moves by 6 of 60 pixels, in and out.
    raw, tracks = measured(tmp_path / "m", [[(100.0, 6.0 * (n % 2))] for n in range(40)])
    assert raw["jitter"] == pytest.approx((0.25 * ((6 / 60) ** 2 + (6 / 66) ** 2) / 2 / 1.5) ** 0.5, rel=0.02)
    assert tracks["jitter"] < 0.3 * raw["jitter"]


def test_a_manifest_that_is_linked_or_broken_is_refused(tmp_path: Path) -> None:
    path, row = tmp_path / "m", json.loads(line(0, [])) | {"prelabel-tracks": {}}
    path.write_text(json.dumps(row))
    ended = CliRunner().invoke(main, ["evaluate", "steadiness", str(path)])
    assert ended.exit_code == 1
    assert "m:1 is not a line with a pre-label" in ended.output
    row["provenance"] |= {"camera": "front", "timestamp": "1"}
    path.write_text(json.dumps(row))
    ended = CliRunner().invoke(main, ["evaluate", "steadiness", str(path)])
    assert "is linked already" in ended.output
    assert '"tracks": false' in ended.output
