"""Comparing two models on drives that they labelled and a reviewer verified."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from click.testing import CliRunner

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.labelling.shards import Shard, ShardFrame, UnitAnswer
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.models.comparison import compare_models
from autolabel_cli.stack import Stack
from tests.contract.verified_drives import BETTER, LABELS, LOOK, Seen, drive_of, make_stack, publish, share
from tests.fakes.answers import DETECTOR, answer


@pytest.fixture
def stack(aws: None) -> Stack:
    return make_stack()


A, B, C, D, E = ((x, 100, 80, 60) for x in range(0, 500, 100))


def test_precision_and_edits_are_those_counted_by_hand(stack: Stack) -> None:
    publish(stack, "d1", [Seen([A, B], [A, C], [A, B]), Seen([D, E], [D], [D, E])], review=False)
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    assert (found.frames, found.blocks, found.hidden, found.times, found.seconds) == (2, 1, 0, None, None)
    assert (found.classes["car"].objects, found.ap50.b.value, found.ap50.b.low) == (4, 1.0, None)
    # Two of four cars, and one box on nothing of the same confidence: the first is right, the second may be wrong.
    assert 0.3 < found.ap50.a.value < 0.55
    edits = {kind: (of.a.value, of.b.value, of.difference.value) for kind, of in found.edits.items()}
    assert edits["add"] == (1.0, 0.0, -1.0)
    assert edits["delete"] == (0.5, 0.0, -0.5)
    assert edits["total"] == (1.5, 0.0, -1.5)
    assert any("too few for intervals" in note for note in found.notes)


def test_seconds_of_another_drive_and_model_are_foretold_within_a_tenth(stack: Stack) -> None:
    publish(stack, "known", drive_of(1, 120))
    found = compare_models(stack, ("detector", "better"), ["known"], scripted=False, wage=36)
    assert found.seconds is not None
    assert found.dollars is not None
    luck, unseen = random.Random(3), drive_of(2, 300)
    for side, shown in ((found.seconds.a, "worse"), (found.seconds.b, "better")):
        real = sum(frame.seconds(getattr(frame, shown), luck)["seconds"] for frame in unseen) / len(unseen) * 1_000  # type: ignore[misc]
        assert side.value == pytest.approx(real, rel=0.1)
        assert side.low is not None
        assert side.high is not None
        assert side.low < side.value < side.high
    assert found.ap50.difference.low is not None
    assert found.ap50.difference.low > 0
    assert found.dollars.a.value == pytest.approx(found.seconds.a.value / 100, abs=1e-3)


def test_equal_models_differ_by_nothing(stack: Stack) -> None:
    publish(stack, "d1", [Seen(f.cars, f.worse, f.worse) for f in drive_of(1, 60)])
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    for sides in (found.ap50, found.seconds, *found.edits.values()):
        assert sides is not None
        assert (sides.difference.low, sides.difference.value, sides.difference.high) == (0, 0, 0)


def test_answers_may_come_from_another_run_of_the_drive(stack: Stack) -> None:
    frames = [Seen([A], [], [A])]
    publish(stack, "d1", frames, models=(DETECTOR.id,))
    with pytest.raises(CommandError, match=r"no answers of better.0001: make this model active"):
        compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    second = Run("d1", "0002", DriveDocument("v", {"front": Camera()}), "e", (BETTER.id,), "2026.1", LABELS)
    stack.ledger.allocate_run(second)
    key = f"drives/d1/front/{0:019d}.png"
    stack.labels.write("inference/second", answer([share(A)]))
    shard = Shard(0, "front", 1, second.folder.shard(0, "frames.jsonl"))
    stack.labels.write(
        shard.key, msgspec.json.encode(ShardFrame(key, "e", (UnitAnswer(BETTER.id, "inference/second"),)))
    )
    stack.labels.write(second.folder.shard_list, msgspec.json.encode(shard))
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    assert (found.ap50.a.value, found.ap50.b.value) == (0, 1)


def test_drives_without_seconds_do_not_make_reviews_free(stack: Stack) -> None:
    drives = [f"d{number}" for number in range(8)]
    for seed, drive in enumerate(drives):
        publish(stack, drive, drive_of(seed, 5), review=seed == 0)
    found = compare_models(stack, ("detector", "better"), drives, scripted=False, wage=20)
    assert found.seconds is not None
    assert found.seconds.a.low is not None
    assert found.seconds.a.low > 1_000 * LOOK / 2


def test_labels_of_a_script_count_only_when_asked_for_and_are_named(stack: Stack) -> None:
    publish(stack, "d1", [Seen([A], [A], [A])], provenance={"labelled-by": "script"})
    with pytest.raises(CommandError, match=r"no label that counts.*--scripted"):
        compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=True, wage=20)
    assert found.by_script == 1
    assert any("a script labelled 1 frame" in note for note in found.notes)


def test_the_command_prints_a_table_and_a_document(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(stack, "d1", drive_of(1, 60))
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    words = ["models", "compare", "detector", "better", "--drive", "d1"]
    printed = CliRunner().invoke(main, words).output
    assert "seconds of review for 1,000 frames" in printed
    assert "its labels favour these" in printed
    told = json.loads(CliRunner().invoke(main, [*words, "--json"]).output)
    assert (told["a"], told["b"], told["frames"]) == ("detector.0001", "better.0001", 60)
