"""Switching to a candidate only when it is better on held-out drives."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import product

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import add_model, read_index
from autolabel_cli.models.switching import sign_flip, switch_model
from autolabel_cli.stack import Stack
from tests.contract.verified_drives import BETTER, Seen, drive_of, make_stack, publish
from tests.fakes.answers import DETECTOR

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BLIND = {"labelled-by": "person", "triage": "blind audit"}
DRIVES = [f"d{number}" for number in range(1, 9)]


@pytest.fixture
def judged(aws: None) -> Stack:
    """Eight drives with blind audits, on which `better` needs fewer edits; only `detector` is active."""
    stack = make_stack()
    add_model(stack, BETTER, active=False)
    for seed, drive in enumerate(DRIVES):
        publish(stack, drive, drive_of(seed, 6), provenance=BLIND, review=False)
    return stack


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_the_p_value_is_the_share_of_all_flips_that_sum_up_to_as_much(differences: list[int]) -> None:
    flips = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    assert sign_flip(differences) == sum(flip >= sum(differences) for flip in flips) / len(flips)


def test_a_better_candidate_is_switched_on_and_its_verdict_is_kept(judged: Stack) -> None:
    verdict = switch_model(judged, "detector", "better", DRIVES, NOW)
    assert (verdict.p, verdict.level, verdict.switched) == (round(1 / 256, 6), 0.025, True)
    assert all(one.frames == 6 and one.old > one.new for one in verdict.drives)
    assert read_index(judged).active == ("better",)
    # A command that ended before the switch is given again.
    add_model(judged, DETECTOR, active=True)
    assert switch_model(judged, "detector", "better", DRIVES, NOW) == verdict
    assert read_index(judged).active == ("better",)


def test_a_candidate_without_advantage_is_refused_with_figures(judged: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    add_model(judged, BETTER, active=True)
    monkeypatch.setattr(Stack, "find", lambda _: judged)
    words = ["models", "switch", "better", "detector", *(word for drive in DRIVES for word in ("--drive", drive))]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["p"] == 1.0
    assert (
        "detector.0001 is not switched on: p = 1.0000; candidate 1 of these drives needs at most 0.0250" in done.stderr
    )
    assert set(read_index(judged).active) == {"detector", "better"}


def test_the_fifth_candidate_of_the_same_drives_is_refused(judged: Stack) -> None:
    for number, level in enumerate((0.025, 0.0125, 0.00625, 0.003125), start=1):
        # The old model under other names.
        same = msgspec.structs.replace(DETECTOR, revision=f"000{number + 1}", answers_of="0001")
        add_model(judged, same)
        add_model(judged, DETECTOR)
        verdict = switch_model(judged, "detector.0001", same.id, DRIVES, NOW)
        assert (verdict.attempt, verdict.level, verdict.p, verdict.switched) == (number, level, 1.0, False)
    with pytest.raises(CommandError, match=r"these drives have judged 4 candidates.*replace d1, d2"):
        switch_model(judged, "detector", "better", DRIVES, NOW)


def test_drives_that_cannot_judge_are_named(judged: Stack) -> None:
    with pytest.raises(CommandError, match="7 drives cannot judge a candidate: name 8 to 20"):
        switch_model(judged, "detector", "better", DRIVES[:7], NOW)
    publish(judged, "shown", [Seen([], [], [])], review=False)
    with pytest.raises(CommandError, match="drive shown has no label that counts"):
        switch_model(judged, "detector", "better", [*DRIVES, "shown"], NOW)
    with pytest.raises(CommandError, match="drive d1 is named with two runs"):
        switch_model(judged, "detector", "better", [*DRIVES, "d1@0001"], NOW)
    with pytest.raises(CommandError, match=r"better\.0001 labels no drives"):
        switch_model(judged, "better", "detector", DRIVES, NOW)


def test_an_active_model_is_judged_by_its_current_revision_only(judged: Stack) -> None:
    add_model(judged, msgspec.structs.replace(DETECTOR, revision="0002", answers_of="0001"))
    with pytest.raises(CommandError, match=r"detector\.0001 labels no drives"):
        switch_model(judged, "detector.0001", "better", DRIVES, NOW)


def test_a_candidate_does_not_look_better_by_failing(judged: Stack) -> None:
    for drive in DRIVES:
        for answer in judged.labels.list(f"inference/{BETTER.id}/drives/{drive}/"):
            judged.labels.write(answer.key, b"broken")
    verdict = switch_model(judged, "detector", "better", DRIVES, NOW)
    assert not verdict.switched
    # Of all ten places, the cars are to be drawn.
    frames = {drive: drive_of(seed, 6) for seed, drive in enumerate(DRIVES)}
    cars = {drive: sum(len(seen.cars) for seen in of) / 6 for drive, of in frames.items()}
    assert [one.new for one in verdict.drives] == [pytest.approx(cars[one.drive], abs=1e-3) for one in verdict.drives]
