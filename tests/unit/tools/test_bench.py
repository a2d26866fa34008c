"""Every measurement of `make bench` runs on little data, and passes its own checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.bench.import_time import import_figures
from tools.bench.work.asking import ask_for_units
from tools.bench.work.assembling import assemble_frames
from tools.bench.work.execution import run_execution
from tools.bench.work.extracting import LogKind, plan_log, read_log, time_log, write_log, write_video
from tools.bench.work.fusing import time_frame
from tools.bench.work.labelling import label_frames
from tools.bench.work.linking import link_frames
from tools.bench.work.planning import plan_frames
from tools.bench.work.publishing import join_parts, settle_frames, write_parts
from tools.bench.work.reconciling import reconcile_answered, reconcile_in_calls, reconcile_mixed, reconcile_unknown
from tools.bench.work.segmenting import read_answer, write_answer

FRAMES = 1_000


@pytest.mark.parametrize(
    "step",
    [
        reconcile_answered,
        reconcile_unknown,
        reconcile_mixed,
        plan_frames,
        assemble_frames,
        link_frames,
        label_frames,
        settle_frames,
        write_parts,
        join_parts,
    ],
)
def test_every_step_runs_on_generated_pages(step: Callable[[int], dict[str, Any]]) -> None:
    assert step(FRAMES)["peak"] > 0


def test_a_pass_in_several_calls_counts_the_same_as_in_one() -> None:
    assert reconcile_in_calls(FRAMES, 0.01)["calls"] >= 1


@pytest.mark.parametrize("shape", ["lists", "pictures"])
def test_an_answer_with_masks_is_read_with_and_without_them(shape: str, tmp_path: Path) -> None:
    path = str(tmp_path / "answer.json")
    count = write_answer(path, shape, 6)["masks"]
    found = {way: read_answer(path, shape, way) for way in ("bare", "boxes", "masks")}
    assert count >= 2
    assert [found[way]["found"] for way in found] == [0, count, count]
    assert [found[way]["masks"] for way in found] == [0, 0, count]


def test_units_are_submitted_through_the_real_adapters() -> None:
    assert ask_for_units(50)["processor"] > 0


def test_the_execution_of_a_large_drive_succeeds() -> None:
    assert run_execution(2 * FRAMES, waits=1, calls=2)["events"] > 0


def test_a_frame_of_several_models_is_merged() -> None:
    assert time_frame(10, rounds=1, calls=1)["merge"] > 0


def test_import_time_is_compared_with_the_bare_handler() -> None:
    [figure] = import_figures(rounds=1, function="collect")
    assert figure.ratio > 0


@pytest.mark.parametrize("kind", ["mcap", "mcap-zstd", "bag", "sqlite3"])
def test_a_log_is_read_as_its_library_reads_it(kind: LogKind, tmp_path: Path) -> None:
    path = str(tmp_path / "log.db3")
    write_log(path, kind, 6)
    # It raises if the ways find other frames.
    assert time_log(path, kind, rounds=1)["frames"] == 6
    read = read_log(path, 2**27)
    assert 0 < read["payload"] <= read["bytes"]
    assert plan_log(path)["slices"] == 1


def test_a_video_is_written_and_read(tmp_path: Path) -> None:
    path = str(tmp_path / "log.mp4")
    written = write_video(path, 2)
    assert read_log(path, 2**27)["frames"] == written["frames"]
