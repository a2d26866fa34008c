"""What a reviewer or a model touched, and the decision that their labels count no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import filterfalse

import msgspec
from msgspec import UNSET, UnsetType

from autolabel.contracts.drive import FIRST_RUN, MAX_DOCUMENT_BYTES, parse_drive_document
from autolabel.contracts.errors import AutolabelError
from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix
from autolabel.contracts.run_folder import RunFolder
from autolabel.drives import is_canary
from autolabel.labels import ExcludedKind, Exclusion, LineOrigin, exclusion_key, is_of, with_makers
from autolabel.reporting import worker_name
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import read_index
from autolabel_cli.operations.interventions import caller, relabel_drive
from autolabel_cli.stack import Stack

# Prefixes of the objects that later runs learn from, each with an object for each run of a recipe.
_LEARNT = "audits/2/", "corrections/1/"
_MAX_BYTES = 10_000_000


class TouchedRun(msgspec.Struct, frozen=True):
    """What a reviewer or a model touched in a published run: labels that count in its dataset.

    `shown`: of a model, further frames whose label a person made; these stay. `evidence`, `corrections`: objects from
    which later runs learn. `latest`: no later run of the drive began.
    """

    drive: str
    run: str
    latest: bool
    frames: int
    boxes: int
    shown: int
    evidence: int
    corrections: int

    def __str__(self) -> str:
        return f"{self.drive}-{self.run}"


class Touched(msgspec.Struct, frozen=True):
    """What a reviewer or a model touched. `name`: in full. `excluded`: whether an exclusion is in force.

    `open_runs`: latest runs without a dataset, as `<drive>-<run>`: what they will show is not known yet.
    """

    kind: ExcludedKind
    name: str
    excluded: bool
    runs: tuple[TouchedRun, ...]
    open_runs: tuple[str, ...]

    @property
    def frames(self) -> int:
        return sum(run.frames for run in self.runs)

    @property
    def drives(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.drive for run in self.runs))


class Relabelled(msgspec.Struct, frozen=True):
    """What became of a drive that was to be labelled again. `outcome`: `started` or `refused`."""

    drive: str
    outcome: str
    detail: str


class ExclusionReceipt(msgspec.Struct, frozen=True):
    """Receipt of a decision. `at`: an ISO 8601 time. `document`: the S3 URI of the exclusion."""

    stack: str
    by: str
    at: str
    excluded: bool
    document: str
    touched: Touched
    relabelled: tuple[Relabelled, ...]

    @property
    def complete(self) -> bool:
        return all(one.outcome == "started" for one in self.relabelled)


class _Label(msgspec.Struct):
    annotations: list[msgspec.Raw] = []


class _Line(LineOrigin, frozen=True):
    """A dataset's line, as far as it says who made the label, and its boxes."""

    verified: _Label | UnsetType = UNSET
    prelabel: _Label | UnsetType = UNSET

    @property
    def boxes(self) -> int:
        label = self.verified or self.prelabel
        return len(label.annotations) if label else 0


class _Tally:
    def __init__(self) -> None:
        self.frames = self.boxes = self.shown = 0


def find_touched(stack: Stack, kind: ExcludedKind, name: str, tell: Callable[[str], None]) -> Touched:
    """Find what a reviewer or a model touched in all published runs. It reads all datasets of the stack.

    `name`: of a reviewer the back-end's name, or the eight digits that reports show; of a model NAME or NAME.REVISION.
    `tell` is told which run is read. CommandError when no run has the name, or several reviewers have the digits.
    """
    learnt = {prefix: _runs_below(stack, prefix) for prefix in _LEARNT}
    found = dict[str, list[TouchedRun]]()
    open_runs = list[str]()
    for drive in filterfalse(is_canary, stack.labels.folders("labels/")):
        latest = stack.ledger.latest_run(drive)
        for number in range(int(FIRST_RUN), int(latest.run) + 1) if latest else ():
            run = f"{number:04d}"
            is_latest = latest is not None and run == latest.run
            if stack.ledger.outcome(drive, run) != "published":
                if is_latest:
                    open_runs.append(f"{drive}-{run}")
                continue
            tell(f"{drive}-{run}")
            for who, tally in _tally(stack, RunFolder(drive, run), kind, name).items():
                evidence, corrections = (learnt[prefix].get(f"{drive}-{run}", 0) for prefix in _LEARNT)
                touched = TouchedRun(
                    drive, run, is_latest, tally.frames, tally.boxes, tally.shown, evidence, corrections
                )
                found.setdefault(who, []).append(touched)
    known = _read(stack, kind, name)
    if len(found) > 1:
        raise CommandError(f"several reviewers have the digits {name}: give one of {', '.join(sorted(found))}")
    if not found and known is None:
        raise CommandError(
            f"no published run has a label of {kind} {name!r}: give the name as in `review` of a dataset's line or in "
            "the report"
            if kind == "reviewer"
            else f"no published run was labelled with model {name!r}: autolabel models list shows the names"
        )
    full = next(iter(found), name)
    exclusion = _read(stack, kind, full)
    runs = tuple(found.get(full, ()))
    return Touched(kind, full, bool(exclusion and exclusion[0].excluded), runs, tuple(open_runs))


def decide(
    stack: Stack, touched: Touched, now: float, *, excluded: bool, relabel: bool, tell: Callable[[str], None]
) -> ExclusionReceipt:
    """Write the decision and, with `relabel`, label the touched drives again. It is safe to do this twice.

    `now`: seconds since the epoch. CommandError if another command decides about the same one meanwhile.
    """
    who, at = caller(stack), datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    known = _read(stack, touched.kind, touched.name)
    runs = {str(run) for run in touched.runs}.union(known[0].runs if known else ())
    exclusion = Exclusion(touched.kind, touched.name, who, at, excluded, tuple(sorted(runs)))
    if known is None or msgspec.structs.replace(known[0], by=who, at=at) != exclusion:
        body = msgspec.json.format(msgspec.json.encode(exclusion), indent=2)
        if not stack.labels.write_over(exclusion.key, body, known[1] if known else ""):
            raise CommandError(
                f"another command decided about {touched.kind} {touched.name} meanwhile: give the command again"
            )
    done = list[Relabelled]()
    for run in touched.runs if relabel else ():
        if run.latest and run.frames:
            tell(f"relabelling {run.drive}")
            done.append(_relabel(stack, run.drive, touched))
    uri = stack.labels.uri(exclusion.key)
    return ExclusionReceipt(stack.name, who, at, excluded, uri, touched, tuple(done))


def _relabel(stack: Stack, drive: str, touched: Touched) -> Relabelled:
    """Label a drive again. One that cannot be does not stop the others."""
    try:
        if touched.kind == "model":
            _check_models(stack, drive, touched.name)
        return Relabelled(drive, "started", relabel_drive(stack, drive).detail)
    except (CommandError, AutolabelError) as e:
        return Relabelled(drive, "refused", str(e))


def _check_models(stack: Stack, drive: str, name: str) -> None:
    """CommandError when a new run of the drive would ask the model again."""
    key = drive_prefix(drive) + DRIVE_DOCUMENT
    found = stack.ingest.read_tagged(key, MAX_DOCUMENT_BYTES + 1)
    named = parse_drive_document(found[0], key).models if found else None
    index = read_index(stack)
    models = index.active if named is None else named
    if again := [model for model in models if is_of(f"{model}.{index.models.get(model, '')}", (name,))]:
        where = "is active" if named is None else f"is named in {key}"
        raise CommandError(
            f"drive {drive} is not labelled again, because model {again[0]} {where}: "
            + ("autolabel models remove it first" if named is None else "upload the drive.json with other models first")
        )


def _tally(stack: Stack, folder: RunFolder, kind: ExcludedKind, name: str) -> dict[str, _Tally]:
    """Count the labels of a run's dataset that count as made by the name, by the full name."""
    decoder = msgspec.json.Decoder(_Line)
    uri = stack.labels.uri(folder.dataset)
    found = dict[str, _Tally]()

    def lines() -> Iterator[tuple[_Line, _Line]]:
        try:
            for body in stack.labels.lines(folder.dataset):
                line = decoder.decode(body)
                yield line, line
        except KeyError as e:
            raise CommandError(f"{uri} is missing, but its run is published: restore it, or relabel the drive") from e
        except msgspec.DecodeError as e:
            raise CommandError(f"{uri} has a line that is not a dataset's: {e}") from e

    for line, makers in with_makers(lines()):
        if kind == "reviewer":
            for who in makers.reviewers:
                if name in (who, worker_name(who)):
                    tally = found.setdefault(who, _Tally())
                    tally.frames += 1
                    tally.boxes += line.boxes
        elif any(is_of(model, (name,)) for model in makers.models):
            tally = found.setdefault(name, _Tally())
            tally.frames += 1
            tally.boxes += line.boxes
        elif any(is_of(model, (name,)) for model in _shown(line)):
            found.setdefault(name, _Tally()).shown += 1
    return found


def _shown(line: _Line) -> tuple[str, ...]:
    """Return the models whose pre-label the person was shown who made the label."""
    origin = line.provenance
    return origin.kept.models if origin.kept else origin.models


def _read(stack: Stack, kind: ExcludedKind, name: str) -> tuple[Exclusion, str] | None:
    found = stack.labels.read_tagged(exclusion_key(kind, name), _MAX_BYTES)
    return None if found is None else (msgspec.json.decode(found[0], type=Exclusion), found[1])


def _runs_below(stack: Stack, prefix: str) -> dict[str, int]:
    """Count the objects by run, as `<drive>-<run>`."""
    counts = dict[str, int]()
    for found in stack.labels.list(prefix):
        run = found.key.rpartition("/")[2].removesuffix(".json")
        counts[run] = counts.get(run, 0) + 1
    return counts
