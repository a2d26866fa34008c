"""Tests of settings, job labels and the taxonomy, which are read once at the start."""

from __future__ import annotations

import re

import msgspec
import pytest

from autolabel.aws.settings import SettingsError, read_settings
from autolabel.contracts.errors import DocumentRefused
from autolabel.labels.taxonomy import current_taxonomy, job_labels


class Settings(msgspec.Struct, frozen=True):
    bucket: str
    wait: float
    count: int
    optional: str = "default"


GOOD = {"BUCKET": "b", "WAIT": "0.5", "COUNT": "3", "OTHER": "x"}


def test_an_empty_environment_is_refused_with_all_missing_settings() -> None:
    with pytest.raises(SettingsError, match="BUCKET, WAIT, COUNT"):
        read_settings(Settings, {})


def test_settings_have_the_types_of_their_fields() -> None:
    assert read_settings(Settings, GOOD) == Settings("b", 0.5, 3)
    assert read_settings(Settings, {**GOOD, "OPTIONAL": "o"}).optional == "o"


@pytest.mark.parametrize("change", [{"WAIT": "soon"}, {"COUNT": "1.5"}, {"COUNT": ""}])
def test_a_wrong_setting_is_refused_by_name(change: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=re.escape(next(iter(change)).lower())):
        read_settings(Settings, {**GOOD, **change})


def test_a_setting_without_labels_is_refused() -> None:
    for text in ("", " ", ",", " , "):
        with pytest.raises(DocumentRefused):
            job_labels(text)


def test_labels_keep_their_order() -> None:
    assert job_labels("person, car,traffic light") == ("person", "car", "traffic light")


@pytest.mark.parametrize("text", ["car,car", "spaceship", "Car", ",".join(current_taxonomy().names)])
def test_unknown_repeated_or_too_many_labels_are_refused(text: str) -> None:
    with pytest.raises(DocumentRefused):
        job_labels(text)


def test_ten_labels_are_allowed() -> None:
    assert len(job_labels(",".join(current_taxonomy().names[:10]))) == 10


def test_the_taxonomy_has_different_names_and_colours() -> None:
    taxonomy = current_taxonomy()
    assert len(set(taxonomy.names)) == len(taxonomy.classes)
    assert len(set(taxonomy.colors.values())) == len(taxonomy.classes)
    assert all(re.fullmatch(r"#[0-9a-f]{6}", color) for color in taxonomy.colors.values())
    assert "ignore" in taxonomy.names


def test_an_unknown_class_is_refused_by_name() -> None:
    with pytest.raises(DocumentRefused, match="spaceship"):
        current_taxonomy().require(["car", "spaceship"], "a document")
    current_taxonomy().require(["car"], "a document")
