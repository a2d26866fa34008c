"""Reads the taxonomy, a versioned document of the project's classes. docs/reviewers/guideline.md explains them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from importlib.resources import files

import msgspec

from autolabel.contracts.errors import DocumentRefused

# Ground Truth's documents disagree between 10 and 50 labels for a box job; 10 is safe (DescribeLabelingJob).
MAX_JOB_LABELS = 10


class TaxonomyClass(msgspec.Struct, frozen=True):
    """A class: its name, its colour wherever boxes are shown, and its group of easily confused classes."""

    name: str
    color: str
    group: str


class Taxonomy(msgspec.Struct, frozen=True, dict=True):
    """One version of the project's classes."""

    version: str
    guideline: str
    classes: tuple[TaxonomyClass, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    @property
    def colors(self) -> dict[str, str]:
        return {c.name: c.color for c in self.classes}

    @cached_property
    def groups(self) -> dict[str, str]:
        """Map each class to its group of easily confused classes."""
        return {c.name: c.group for c in self.classes}

    def require(self, names: Sequence[str], what: str) -> None:
        """Raise DocumentRefused, which names `what` and the known classes, if a name is not a class."""
        unknown = sorted(set(names) - set(self.names))
        if unknown:
            raise DocumentRefused(
                "unknown-class", f"{what} names unknown classes {unknown}; known are {', '.join(self.names)}"
            )


@cache
def current_taxonomy() -> Taxonomy:
    """Read the taxonomy that is part of this version of the package."""
    return msgspec.json.decode(files("autolabel.labels").joinpath("taxonomy.json").read_bytes(), type=Taxonomy)


def job_labels(text: str) -> tuple[str, ...]:
    """Read a comma-separated setting of job labels: 1 to 10 known classes, each once, in order."""
    labels = tuple(name.strip() for name in text.split(",") if name.strip())
    current_taxonomy().require(labels, "the setting of job labels")
    if not 1 <= len(labels) <= MAX_JOB_LABELS or len(set(labels)) != len(labels):
        raise DocumentRefused(
            "job-labels", f"a labelling job takes 1 to {MAX_JOB_LABELS} different labels, not {labels}"
        )
    return labels
