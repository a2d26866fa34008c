"""The catalogue's index and documents as `autolabel models` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from autolabel.models.catalogue import CatalogueIndex
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import (
    add_model,
    change_index,
    check_models,
    find_revision,
    read_index,
    with_model,
    without_model,
)
from autolabel_cli.models.documents import draft_model
from tests.contract.model_account import (
    Account,
    bring,
    draft,
)
from tests.contract.template import ROOT
from tests.fakes.answers import DETECTOR


def test_two_who_add_at_once_both_stay(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    other = msgspec.structs.replace(DETECTOR, name="other")

    def meanwhile(index: CatalogueIndex) -> CatalogueIndex:
        if "other" not in index.models:
            monkeypatch.undo()
            add_model(account.stack, other)
        return with_model(index, DETECTOR, None)

    change_index(account.stack, meanwhile)
    assert read_index(account.stack) == CatalogueIndex(
        {"other": other.revision, DETECTOR.name: DETECTOR.revision}, ("other", DETECTOR.name)
    )


def test_a_catalogue_that_changes_without_end_is_given_up(account: Account) -> None:
    count = iter(range(100))

    def change(index: CatalogueIndex) -> CatalogueIndex:
        add_model(account.stack, msgspec.structs.replace(DETECTOR, name=f"n{next(count)}"), active=False)
        return without_model(index, "n0")

    with pytest.raises(CommandError, match="give the command again"):
        change_index(account.stack, change)


def test_no_more_models_are_active_than_label_a_drive(account: Account) -> None:
    for n in range(8):
        add_model(account.stack, msgspec.structs.replace(DETECTOR, name=f"n{n}"))
    with pytest.raises(CommandError, match="--inactive"):
        bring(account)
    assert account.formation.created == []
    assert bring(account, active=False).outcome == "added"


def test_an_unknown_model_is_refused_with_the_nearest(account: Account) -> None:
    add_model(account.stack, DETECTOR)
    with pytest.raises(CommandError, match=f"known are {DETECTOR.name}; did you mean {DETECTOR.name}"):
        find_revision(account.stack, DETECTOR.name + "s")


def test_a_drive_that_asks_for_an_unknown_model_is_refused_before_its_frames_go_up(account: Account) -> None:
    add_model(account.stack, DETECTOR)
    check_models(account.stack, [DETECTOR.name])
    with pytest.raises(CommandError, match="has no model 'other'; known are"):
        check_models(account.stack, [DETECTOR.name, "other"])


def test_an_unknown_revision_is_refused_with_the_current_one(account: Account) -> None:
    add_model(account.stack, DETECTOR)
    with pytest.raises(CommandError, match=f"has no revision 0999; its current one is {DETECTOR.revision}"):
        find_revision(account.stack, f"{DETECTOR.name}.0999")


def test_a_coco_model_needs_no_class_map() -> None:
    assert draft().classes["stop sign"] == "traffic sign"


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"person": "persn"}, "unknown class 'persn'; known are car, .*did you mean person"),
        ([1], "is not a JSON object"),
        ({}, "`classes` is empty"),
    ],
)
def test_a_class_map_with_a_mistake_is_refused(classes: Any, said: str, tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps(classes))
    with pytest.raises(CommandError, match=said):
        draft_model("street", None, file, "jumpstart-detection", {})


def test_an_unknown_decoder_is_refused_with_the_known_and_the_nearest() -> None:
    with pytest.raises(CommandError, match=r"known are .*jumpstart-detection.*did you mean jumpstart-detection"):
        draft(decoder="jumpstart-detektion")


def test_a_decoder_that_must_know_more_is_told_by_options() -> None:
    with pytest.raises(CommandError, match="`resized` is missing"):
        draft(decoder="jumpstart-mask-rcnn")
    assert draft(decoder="jumpstart-mask-rcnn", options={"resized": {"short": 600, "long": 1000}}).options.resized


def test_without_a_decoder_the_known_ones_are_named() -> None:
    with pytest.raises(CommandError, match=r"--decoder with one of .*jumpstart-detection"):
        draft_model("street", None, None, None, {})


def test_a_model_of_views_is_brought_by_its_document() -> None:
    found = draft_model("blur", ROOT / "models" / "blur.json", None, None, {})
    assert (found.purpose, set(found.classes.values())) == ("views", {"plate", "head"})


def test_a_segmenter_is_not_brought_as_runs_do_not_ask_it() -> None:
    with pytest.raises(CommandError, match=r"runs do not ask yet.*check-segmenter"):
        draft_model("grabcut", ROOT / "models" / "grabcut.json", None, None, {})


def test_options_win_over_the_document(tmp_path: Path) -> None:
    file = tmp_path / "street.json"
    file.write_bytes(msgspec.json.encode(DETECTOR))
    found = draft_model("street", file, None, None, {"threshold": 0.75, "weight": None})
    assert (found.name, found.threshold, found.classes) == ("street", 0.75, DETECTOR.classes)
