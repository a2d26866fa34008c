"""Script that scores tracks with the package trackers: HOTA, identity and CLEAR metrics.

It runs in a process and, in a checkout, an environment of its own (`make setup-tracks`), because trackers wants another
OpenCV than the command. It reads a request as JSON from standard input (`tracks.MetricsRequest`), and writes the scores
as one JSON object to standard output.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any, NamedTuple, TypedDict

import numpy as np
from scipy.optimize import linear_sum_assignment
from trackers.eval import (
    aggregate_clear_metrics,
    aggregate_hota_metrics,
    aggregate_identity_metrics,
    box_ioa,
    box_iou,
    compute_clear_metrics,
    compute_hota_metrics,
    compute_identity_metrics,
)

# KITTI's rules: a box is on an object from this IoU on, and in a region with this share of its area.
_ON_OBJECT, _IN_REGION = 0.5, 0.5


class Scored(NamedTuple):
    """A sequence, one entry a frame: ids of the objects that count, of the tracks' boxes that count, and their IoUs."""

    truth: list[Any]
    tracks: list[Any]
    ious: list[Any]


class Frame(TypedDict):
    """As `tracks.ScoredFrame`, which this environment cannot import. Objects: track, box, whether it counts."""

    objects: list[tuple[int, list[float], bool]]
    regions: list[list[float]]
    tracks: list[tuple[int, list[float]]]


class Request(TypedDict):
    """As `tracks.MetricsRequest`."""

    sequences: list[list[Frame]]
    min_height: float


class Scores(TypedDict):
    """As `document.TrackScores`."""

    hota: float | None
    idf1: float | None
    mota: float | None
    switches: int
    fragments: int
    precision: float | None
    recall: float | None


def score(request: Request) -> Scores:
    """Score all sequences of a request together. A score is None where there is nothing to divide by."""
    results = []
    for frames in request["sequences"]:
        given = _scored(frames, request["min_height"])
        results.append((compute_clear_metrics(*given), compute_hota_metrics(*given), compute_identity_metrics(*given)))
    clear, hota, identity = zip(*results, strict=True)
    counts, higher, named = (
        aggregate_clear_metrics(list(clear)),
        aggregate_hota_metrics(list(hota)),
        aggregate_identity_metrics(list(identity)),
    )
    right, wrong, missed = (int(counts[name]) for name in ("CLR_TP", "CLR_FP", "CLR_FN"))
    some = bool(right + missed)
    return {
        "hota": float(higher["HOTA"]) if some else None,
        "idf1": float(named["IDF1"]) if some else None,
        "mota": float(counts["MOTA"]) if some else None,
        "switches": int(counts["IDSW"]),
        "fragments": int(counts["Frag"]),
        "precision": right / (right + wrong) if right + wrong else None,
        "recall": right / (right + missed) if some else None,
    }


def _scored(frames: list[Frame], min_height: float) -> Scored:
    """Leave out what is neither right nor wrong: objects that do not count, and boxes on them or in regions."""
    scored = Scored([], [], [])
    # The metrics want ids from 0 on.
    objects, numbers = dict[int, int](), dict[int, int]()
    for frame in frames:
        truth, tracks = frame["objects"], frame["tracks"]
        ious = _matrix(box_iou, [box for _, box, _ in truth], [box for _, box in tracks])
        rows, columns = linear_sum_assignment(np.where(ious >= _ON_OBJECT, ious, 0), maximize=True)
        on = {int(b): int(o) for o, b in zip(rows, columns, strict=True) if ious[o, b] >= _ON_OBJECT}
        inside = _matrix(box_ioa, [box for _, box in tracks], frame["regions"]).max(axis=1, initial=0)

        def stands(at: int, box: list[float], on: Any = on, truth: Any = truth, inside: Any = inside) -> bool:
            if at in on:
                return bool(truth[on[at]][2])
            return box[3] - box[1] >= min_height and inside[at] < _IN_REGION

        rows = [at for at, (*_, counts) in enumerate(truth) if counts]
        columns = [at for at, (_, box) in enumerate(tracks) if stands(at, box)]
        scored.truth.append(np.array([objects.setdefault(truth[at][0], len(objects)) for at in rows], int))
        scored.tracks.append(np.array([numbers.setdefault(tracks[at][0], len(numbers)) for at in columns], int))
        scored.ious.append(ious[np.ix_(rows, columns)])
    return scored


def _matrix(measure: Any, some: list[Any], others: list[Any]) -> Any:
    if not some or not others:
        return np.zeros((len(some), len(others)))
    return measure(np.array(some, float), np.array(others, float), box_format="xyxy")


def main() -> None:
    # Libraries print to standard output as well.
    with redirect_stdout(sys.stderr):
        scores = score(json.load(sys.stdin))
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
