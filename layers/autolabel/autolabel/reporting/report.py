"""Writes the report of a run: one self-contained page with its counts, and pictures of frames with their boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from autolabel.contracts.ports import Bucket
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import (
    ACCEPTED,
    AGAIN,
    AUDIT,
    BETWEEN,
    BLIND_AUDIT,
    EVERYTHING,
    KEPT,
    KEY_FRAME,
    UNCERTAIN,
    UNPROVEN,
    UNREVIEWED,
)
from autolabel.contracts.wording import counted
from autolabel.labels.manifest import LabelledBy, read_line
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.reporting.pace import HASTY_SECONDS
from autolabel.reporting.summary import Summary

if TYPE_CHECKING:
    import jinja2

    from autolabel.labels.manifest import ManifestLine
    from autolabel.reporting.cuboid_pictures import CuboidPicture, Ground
    from autolabel.reporting.edits import EditTally
    from autolabel.reporting.findings import Finding, Findings
    from autolabel.reporting.pictures import Comparison, Picture

KIND_MEANINGS = {
    EVERYTHING: "given to reviewers: the policy gives them every frame",
    UNCERTAIN: "given to reviewers: the models are uncertain, or there is no pre-label",
    UNPROVEN: "given to reviewers: certain enough, but a class is not proven yet",
    AUDIT: "certain enough and proven; given to reviewers as a check",
    BLIND_AUDIT: "drawn by lot; given to reviewers without the pre-label, as proof",
    ACCEPTED: "certain enough and proven; the pre-label became the label without a reviewer",
    KEPT: "labelled by a reviewer in an earlier run; that label is kept",
    AGAIN: "labelled by a reviewer in an earlier run; given to reviewers again",
    KEY_FRAME: "given to reviewers: the frames between follow from it",
    UNREVIEWED: "not given to reviewers: the drive asks for none, so the frame has no label",
    BETWEEN: "not given to reviewers: the label follows from the key frames beside it",
}
PICTURES = 24
# The most of these pictures that are shown with their cuboids.
CUBOID_PICTURES = 8
# The page names at most this many rejected and failed frames each. Their files have all of them.
NAMED_ISSUES = 20


class Gallery:
    """Chooses lines spread evenly over a run of `frames` lines, which pass in order."""

    def __init__(self, frames: int, pictures: int = PICTURES) -> None:
        self._wanted = {round(i * (frames - 1) / max(1, pictures - 1)) for i in range(pictures)}
        self._passed = 0
        self.lines: list[bytes] = []

    def take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._passed in self._wanted:
                self.lines.append(line)
            self._passed += 1

    def skip(self, count: int) -> bool:
        """Skip the next `count` lines without reading them. If one of them is chosen, skips nothing, returns False."""
        if not self._wanted.isdisjoint(range(self._passed, self._passed + count)):
            return False
        self._passed += count
        return True


def write_report(
    summary: Summary, gallery: Gallery, findings: Findings | None = None, *, ingest: Bucket, label_bucket: Bucket
) -> str:
    """Write the run's report into the label bucket, and return its S3 URI. `findings`: None before verification."""
    # Imported here: a cold start pays for Pillow only if the function makes pictures.
    from autolabel.reporting.cuboid_pictures import ground_of, has_cuboids
    from autolabel.reporting.pictures import Album, frames_of

    changed = [read_line(one.line) for one in findings.worst()] if findings else []
    with_issues = [(read_line(one.line), one.issues) for one in findings.contradicted()] if findings else []
    timed = [(one.issues[0], *_in_time(one)) for one in findings.out_of_time()] if findings else []
    spread = [read_line(line) for line in gallery.lines]
    beside = (line for _, *lines in timed for line in lines if line)
    shown = (*changed, *(line for line, _ in with_issues), *beside, *spread)
    album = Album(frames_of(ingest, label_bucket), len({line.source_ref for line in shown}))
    worst = [album.edits(line) for line in changed]
    contradicted = [album.issues(line, issues) for line, issues in with_issues]
    out_of_time = [album.in_time(*one) for one in timed]
    pictures = [album.picture(line) for line in spread]
    with_cuboids = [line for line in spread if has_cuboids(line)][:CUBOID_PICTURES] if summary.sensors else []
    solids = [album.cuboids(line, summary.sensors) for line in with_cuboids if summary.sensors]
    folder = RunFolder(summary.drive, summary.run)
    issues = {
        "Rejected": _first_lines(label_bucket, folder.rejected),
        "Failed": _first_lines(label_bucket, folder.failed),
    }
    page = render_report(
        summary,
        pictures,
        issues,
        worst=worst,
        contradicted=contradicted,
        out_of_time=out_of_time,
        solids=solids,
        ground=ground_of(with_cuboids) if solids else None,
        images=album.images,
    )
    key = folder.report
    label_bucket.write(key, page.encode(), "text/html; charset=utf-8")
    return label_bucket.uri(key)


def render_report(
    summary: Summary,
    pictures: Sequence[Picture],
    issues: Mapping[str, list[dict[str, str]]],
    *,
    worst: Sequence[Comparison] = (),
    contradicted: Sequence[Comparison] = (),
    out_of_time: Sequence[Comparison] = (),
    solids: Sequence[CuboidPicture] = (),
    ground: Ground | None = None,
    images: Mapping[str, str] | None = None,
) -> str:
    """Render the page as HTML. `issues`: rejected and failed frames with key, reason and detail; `worst`: frames with
    the most changes; `contradicted`: frames with label issues; `out_of_time`: frames that their neighbours contradict;
    `solids`: frames with cuboids, seen from above on this `ground`; `images`: the frames as data URIs by name."""
    return (
        _templates()
        .get_template("report.html.jinja")
        .render(
            summary=summary,
            agreement=summary.agreement,
            pictures=pictures,
            issues=issues,
            worst=worst,
            contradicted=contradicted,
            out_of_time=out_of_time,
            solids=solids,
            ground=ground,
            images=images or {},
            colors=current_taxonomy().colors,
            most=max(summary.classes.values(), default=1),
            verified=bool(summary.dataset),
            # Of the dataset, since an earlier label of a person stands in for a script's.
            people=sum(summary.labelled_by.get(by.value, 0) for by in LabelledBy if by.by_person),
            scripted=summary.labelled_by.get(LabelledBy.SCRIPT.value, 0),
            kinds=KIND_MEANINGS,
            hasty_seconds=HASTY_SECONDS,
        )
    )


def render_differences(
    sides: tuple[str, str],
    said: Sequence[str],
    tally: EditTally,
    pictures: Sequence[Comparison],
    images: Mapping[str, str],
) -> str:
    """Render the differences of two datasets as HTML. `said`: sentences above the table; `pictures`: of frames."""
    return (
        _templates()
        .get_template("differences.html.jinja")
        .render(sides=sides, said=said, tally=tally, pictures=pictures, images=images, colors=current_taxonomy().colors)
    )


def _in_time(finding: Finding) -> tuple[ManifestLine | None, ManifestLine, ManifestLine | None]:
    """Read the lines of a frame and of its neighbours."""
    before, after = finding.before and read_line(finding.before), finding.after and read_line(finding.after)
    return before or None, read_line(finding.line), after or None


@cache
def _templates() -> jinja2.Environment:
    # Imported here: a cold start pays for it only if the function writes a report.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autolabel.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["counted"] = counted
    return environment


def _first_lines(label_bucket: Bucket, key: str) -> list[dict[str, str]]:
    first = []
    for line in label_bucket.lines(key):
        first.append(msgspec.json.decode(line, type=dict[str, str]))
        if len(first) == NAMED_ISSUES:
            break
    return first
