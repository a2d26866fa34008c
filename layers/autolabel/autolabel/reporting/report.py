"""The report of a run: one self-contained page with its counts and pictures of its frames with their boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from autolabel.contracts.ports import Bucket
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import ACCEPTED, AUDIT, BLIND_AUDIT, EVERYTHING, UNCERTAIN, UNPROVEN
from autolabel.labels.manifest import read_line
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.reporting.pace import HASTY_SECONDS
from autolabel.reporting.summary import Summary

if TYPE_CHECKING:
    import jinja2

    from autolabel.reporting.findings import Findings
    from autolabel.reporting.pictures import Comparison, Picture

KINDS_TOLD = {
    EVERYTHING: "verified by people, as all are",
    UNCERTAIN: "verified by people: something in them is in doubt, or there is no pre-label",
    UNPROVEN: "verified by people: without doubt, but something in them is not proven yet",
    AUDIT: "without doubt and proven; verified by people as a check",
    BLIND_AUDIT: "without doubt; labelled by people who were not shown the pre-label, as proof",
    ACCEPTED: "without doubt and proven: the pre-label stands, and nobody looked",
}
PICTURES = 24
# So many rejected and failed frames are named in the page; their files hold all.
NAMED_ISSUES = 20


class Gallery:
    """Chooses lines spread evenly over a run of `frames` lines as they pass by."""

    def __init__(self, frames: int, pictures: int = PICTURES) -> None:
        self._wanted = {round(i * (frames - 1) / max(1, pictures - 1)) for i in range(pictures)}
        self._seen = 0
        self.lines: list[bytes] = []

    def take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._seen in self._wanted:
                self.lines.append(line)
            self._seen += 1

    def skip(self, count: int) -> bool:
        """Pass over the next `count` lines without reading them; False, and nothing is passed, when one is chosen."""
        if not self._wanted.isdisjoint(range(self._seen, self._seen + count)):
            return False
        self._seen += count
        return True


def write_report(
    summary: Summary, gallery: Gallery, findings: Findings | None = None, *, ingest: Bucket, labels: Bucket
) -> str:
    """Write the run's report into the label bucket; its S3 URI. `findings`: what people did, once they have."""
    # Here and not above: a function that starts pays for pictures only when it draws some.
    from autolabel.reporting.pictures import Album

    changed = [read_line(one.line) for one in findings.worst()] if findings else []
    doubted = [(read_line(one.line), one.issues) for one in findings.contradicted()] if findings else []
    spread = [read_line(line) for line in gallery.lines]
    album = Album(ingest, len({line.source_ref for line in (*changed, *(line for line, _ in doubted), *spread)}))
    worst = [album.edits(line) for line in changed]
    contradicted = [album.issues(line, issues) for line, issues in doubted]
    pictures = [album.picture(line) for line in spread]
    folder = RunFolder(summary.drive, summary.run)
    issues = {"Rejected": _first_lines(labels, folder.rejected), "Failed": _first_lines(labels, folder.failed)}
    page = render_report(summary, pictures, issues, worst=worst, contradicted=contradicted, images=album.images)
    key = folder.report
    labels.write(key, page.encode(), "text/html; charset=utf-8")
    return labels.uri(key)


def render_report(
    summary: Summary,
    pictures: Sequence[Picture],
    issues: Mapping[str, list[dict[str, str]]],
    *,
    worst: Sequence[Comparison] = (),
    contradicted: Sequence[Comparison] = (),
    images: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML. `issues`: rejected and failed frames with key, reason and detail; `worst`: frames that people
    changed most, `suspicious` ones whose labels may be wrong; `images`: the frames as data URIs by name."""
    return _template().render(
        summary=summary,
        agreement=summary.agreement,
        pictures=pictures,
        issues=issues,
        worst=worst,
        contradicted=contradicted,
        images=images or {},
        colors=current_taxonomy().colors,
        most=max(summary.classes.values(), default=1),
        verified=bool(summary.verification),
        kinds=KINDS_TOLD,
        hasty_seconds=HASTY_SECONDS,
    )


@cache
def _template() -> jinja2.Template:
    # Here and not above: a function that starts pays for it only when it writes a report.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autolabel.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")


def _first_lines(labels: Bucket, key: str) -> list[dict[str, str]]:
    first = []
    for line in labels.lines(key):
        first.append(msgspec.json.decode(line, type=dict[str, str]))
        if len(first) == NAMED_ISSUES:
            break
    return first
