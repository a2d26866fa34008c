"""Drives whose policy lets reviewers skip certain frames, on the embedded cloud with the template's roles."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.pipeline import Pipeline, image, timestamps

pytestmark = pytest.mark.cloud

FRAMES = 12
# The model's person has a confidence of 0.6. Eight stretches without an error prove that more than half are right.
POLICY = {"policy": "doubtful", "max_doubt": 0.5, "target": 0.5, "segment": 1}


def test_classes_proven_by_blind_audits_are_accepted_in_the_next_drive(pipeline: Pipeline) -> None:
    # Given a drive whose reviewers see no pre-labels, and draw the same objects as the model
    frames = {f"front/{time}.png": image() for time in timestamps(FRAMES)}
    pipeline.upload("spared-first", frames, verification={**POLICY, "audit": 1.0, "blind": 1.0})
    first = pipeline.succeed("spared-first")
    assert first["triage"] == {"blind audit": FRAMES}
    assert first["labelled_by"] == {"person": FRAMES}
    assert len([sentence for sentence in first["acceptance"] if ": accepted since" in sentence]) == 3
    # When the next drive comes, in which one frame failed
    more = {f"front/{time}.png": image(643 if index == 5 else 640) for index, time in enumerate(timestamps(FRAMES))}
    pipeline.upload("spared-second", more, verification={**POLICY, "audit": 0.1})
    second = pipeline.succeed("spared-second")
    # Then reviewers get the failed frame and two audits, one of them blind, and the rest is accepted
    assert second["triage"] == {"accepted": 9, "doubtful": 1, "blind audit": 1, "audit": 1}
    assert [job["frames"] for job in second["verification"]] == [3]
    assert {(one["name"], one["accepted"], one["since"]) for one in second["certificates"]} == {
        (name, True, "spared-first 0001") for name in ("any class", "car", "person")
    }
    lines = pipeline.lines("spared-second", "dataset.manifest")
    assert Counter(line["provenance"]["labelled-by"] for line in lines) == {
        "model": 9,
        "person": 2,
        "model and person": 1,
    }
    accepted = [line for line in lines if line["provenance"]["triage"] == "accepted"]
    assert all(len(line["verified"]["annotations"]) == 2 for line in accepted)
    assert {line["verified-metadata"]["human-annotated"] for line in accepted} == {"no"}


def test_strips_are_accepted_as_a_whole_and_blind_ones_begin_without_tracks(pipeline: Pipeline) -> None:
    policy = {**POLICY, "task": "tracks", "segment": 2}
    frames = {f"front/{time}.png": image() for time in timestamps(2 * FRAMES)}
    pipeline.upload("spared-strips", frames, verification={**policy, "audit": 1.0, "blind": 1.0})
    first = pipeline.succeed("spared-strips")
    assert first["triage"] == {"blind audit": 2 * FRAMES}
    assert len([sentence for sentence in first["acceptance"] if ": accepted since" in sentence]) == 3
    more = {f"front/{time}.png": image(643 if at == 5 else 640) for at, time in enumerate(timestamps(2 * FRAMES))}
    pipeline.upload("spared-strips-2", more, verification={**policy, "audit": 0.1})
    second = pipeline.succeed("spared-strips-2")
    # One of eleven certain strips is audited blind, and one with its boxes in sight.
    assert second["triage"] == {"accepted": 18, "doubtful": 2, "blind audit": 2, "audit": 2}
    assert sum(job["frames"] for job in second["verification"]) == 6
    for line in pipeline.lines("spared-strips-2", "dataset.manifest"):
        kind = line["provenance"]["triage"]
        if kind != "doubtful":
            by = {"accepted": "model", "audit": "model and person", "blind audit": "person"}[kind]
            assert line["provenance"]["labelled-by"] == by
            # The objects that a reviewer draws in a blind strip keep the tracks of the models.
            assert line["tracks"] == line["prelabel-tracks"]["ids"]
