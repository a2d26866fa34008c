"""Every bomb ends within limits of memory and processor time that the operating system enforces."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from autolabel.contracts.drive import MAX_DOCUMENT_BYTES
from tests.fakes.bucket import FakeBucket
from tests.fakes.pipeline import DRIVE, Pipeline

ROOT = Path(__file__).parents[2]
# The slowest takes a few seconds; quadratic time in the input would take hours.
SECONDS = 60
# Megabytes of address space, including the interpreter's own.
SMALL, DOCUMENT, MASKS, FAILED, PICTURE = 300, 450, 900, 1_000, 1_400

# The result of each bomb, and the megabytes that it may take.
BOMBS = {
    "long_string": ("1 boxes", SMALL),
    "escaped_string": ("1 boxes", SMALL),
    "long_mask": ("1 boxes", SMALL),
    "deep_mask": ("1 boxes", SMALL),
    "quoted_brackets": ("1 boxes", SMALL),
    "closing_brackets": ("answer-unreadable", SMALL),
    "white_space": ("1 boxes", SMALL),
    "many_keys": ("answer-too-large", SMALL),
    "long_key": ("answer-too-large", SMALL),
    "endless": ("answer-truncated", SMALL),
    "long_number": ("answer-too-large", SMALL),
    "long_label": ("answer-too-large", SMALL),
    "million_boxes": ("answer-too-large", SMALL),
    "small_answer_of_boxes": ("answer-too-large", SMALL),
    "long_pictures": ("100 boxes, 0 masks", SMALL),
    "long_list": ("answer-too-large", SMALL),
    "one_long_mask": ("answer-too-large", MASKS),
    "long_row": ("answer-unreadable", MASKS),
    "deep_wanted_mask": ("answer-too-large", MASKS),
    "short_rows": ("answer-too-large", MASKS),
    "soft_mask": ("answer-too-large", MASKS),
    "many_masks": ("answer-too-large", MASKS),
    "noisy_masks": ("answer-too-large", MASKS),
    "picture_of_many_pixels": ("answer-too-large", MASKS),
    "masks_of_the_largest_frame": ("20 boxes, 20 masks", MASKS),
    "noise_outlined": ("0 outlines", MASKS),
    "boxes_of_several_models": ("4000 votes, 20000 dropped", MASKS),
    "crowd_on_bicycles": ("0 riders", MASKS),
    "outline_round_the_world": ("answer-too-large", MASKS),
    "large_mapped_answer": ("1 boxes, 0 masks", SMALL),
    "deep_document": ("document-schema", SMALL),
    "keys_of_a_document": ("document-not-json", SMALL),
    "large_document": ("document-too-large", DOCUMENT),
    "records": ("message-unreadable", SMALL),
    "deep_message": ("message-unreadable", SMALL),
    # Metadata that a header needs are unpacked up to a bound, others are skipped.
    "compressed_texts": ("(10, 10)", SMALL),
    "compressed_profile": ("(10, 10)", SMALL),
    "compressed_orientations": ("(10, 10)", SMALL),
    "endless_metadata": ("metadata-too-large", SMALL),
    "many_segments": ("metadata-too-large", SMALL),
    "junk_between_segments": ("not-an-image", SMALL),
    "repeated_scans": ("left out", PICTURE),
    "scans_of_a_camera": ("drawn", PICTURE),
    "failed_scans": ("counts as whole", PICTURE),
    "log_of_zstd": ("chunk-size-wrong", SMALL),
    "log_of_lz4": ("chunk-size-wrong", SMALL),
    "log_of_bz2": ("chunk-size-wrong", SMALL),
    "log_of_a_gigabyte": ("chunk-too-large", SMALL),
    "zip_that_lies": ("member-crc-wrong", SMALL),
    "tar_gz_of_zeros": ("no-camera", SMALL),
    "tar_with_a_long_head": ("archive-damaged", DOCUMENT),
    # The largest allowed frame: reconcile has 1,024 MB.
    "largest_failed_png": ("counts as whole", FAILED),
    # The largest allowed frame: assemble and publish have 1,769 MB.
    "largest_png": ("drawn", PICTURE),
}


@pytest.mark.parametrize(("bomb", "expected", "megabytes"), [(b, *e) for b, e in BOMBS.items()], ids=BOMBS)
def test_a_bomb_ends_within_its_limits(bomb: str, expected: str, megabytes: int) -> None:
    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS,) * 2)

    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz.bombs", bomb],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'layers' / 'autolabel'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=bound,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split("\t")[0] == expected


class LargerThanSaid(FakeBucket):
    """A bucket whose drive.json grew to 100 MB after its event; `most`: bytes that were read of it."""

    most = 0

    def read(self, key: str) -> bytes | None:
        raise AssertionError(f"{key} is read whole")

    def read_tagged(self, key: str, limit: int) -> tuple[bytes, str]:
        self.most = max(self.most, limit)
        return b" " * min(limit, 100_000_000), "0" * 32


def test_a_document_larger_than_its_event_says_is_not_read_whole() -> None:
    pipeline = Pipeline()
    pipeline.ingest = LargerThanSaid("ingest")
    assert pipeline.close() == ["refused"]
    assert [refusal.reason for refusal in pipeline.ledger.refusals(DRIVE)] == ["document-too-large"]
    assert pipeline.ingest.most == MAX_DOCUMENT_BYTES + 1
    assert not pipeline.executions.started
