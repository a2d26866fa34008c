"""Switching to another model: only when it is better on drives whose labels favour neither."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np

from autolabel.contracts.wording import counted
from autolabel.models import CatalogueIndex, Model
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import change_index, find_revision, read_index, with_model
from autolabel_cli.models.comparison import compared_frames, distinct_drives, favours_none
from autolabel_cli.stack import Stack

# The chance that a candidate without an advantage is switched on. The k-th of the same drives gets the share 1 / 2**k.
_LEVEL = 0.05
_LEAST_DRIVES, _MOST_DRIVES, _MOST_ATTEMPTS = 8, 20, 4
_KEY = "catalogue/switches.json"
_MAX_BYTES = 10_000_000
_ROUNDING = 1e-9
_DIGITS = 4


class JudgedDrive(msgspec.Struct, frozen=True):
    """The edits that a frame of a drive needs, in the mean. `frames`: those whose reviewers saw no boxes of models."""

    drive: str
    frames: int
    old: float
    new: float


class Verdict(msgspec.Struct, frozen=True):
    """What became of a candidate. `attempt`: how many candidates these drives have judged, with this one.

    `p`: the share of all ways to swap the two models by drive in which the new one would be as much better or more.
    `level`: what `p` must not exceed.
    """

    old: str
    new: str
    drives: tuple[JudgedDrive, ...]
    attempt: int
    level: float
    p: float
    switched: bool
    at: str


def switch_model(stack: Stack, old: str, new: str, drives: Sequence[str], now: datetime) -> Verdict:
    """Judge a candidate on held-out drives and, if it is better, label new drives with it instead of the old model.

    `old`, `new`: NAME or NAME.REVISION; `old` is active. The same candidate on the same drives gets its first verdict
    again. CommandError when the drives are too few, too many, used up, or cannot judge.
    """
    models = find_revision(stack, old), find_revision(stack, new)
    drives = sorted(distinct_drives(drives), key=lambda drive: drive.partition("@")[0])
    names = tuple(drive.partition("@")[0] for drive in drives)
    if not _LEAST_DRIVES <= len(names) <= _MOST_DRIVES:
        raise CommandError(
            f"{counted(len(names), 'drive')} cannot judge a candidate: name {_LEAST_DRIVES} to {_MOST_DRIVES} drives "
            "that the candidate was not trained on"
        )
    if learned := sorted(trained_drives(stack, models[1]).intersection(names)):
        raise CommandError(
            f"{models[1].id} was trained on {', '.join(learned)}, which cannot judge it: name drives that it has not "
            "seen"
        )
    verdicts, etag = _read_verdicts(stack)
    for known in verdicts:
        if (known.old, known.new) == (models[0].id, models[1].id) and names == tuple(one.drive for one in known.drives):
            # The command may have ended before the switch.
            return _applied(stack, known, models[0].name)
    index = read_index(stack)
    if models[0].name not in index.active or index.models[models[0].name] != models[0].revision:
        raise CommandError(f"{models[0].id} labels no drives, so nothing can be switched: name an active model as OLD")
    used = [known for known in verdicts if not {one.drive for one in known.drives}.isdisjoint(names)]
    attempt = len(used) + 1
    if attempt > _MOST_ATTEMPTS:
        spent = sorted({one.drive for known in used for one in known.drives}.intersection(names))
        raise CommandError(
            f"these drives have judged {_MOST_ATTEMPTS} candidates, so that a fifth could pass by luck: replace "
            f"{', '.join(spent)} by drives that have judged none"
        )
    judged = []
    for drive in drives:
        frames = list(compared_frames(stack, drive, models, favours_none))
        means = (sum(sum(frame.needed(side)) for frame in frames) / len(frames) for side in (0, 1))
        judged.append(JudgedDrive(drive.partition("@")[0], len(frames), *(round(mean, _DIGITS) for mean in means)))
    p, level = sign_flip([one.old - one.new for one in judged]), _LEVEL / 2**attempt
    stamp = now.isoformat(timespec="seconds")
    verdict = Verdict(
        models[0].id, models[1].id, tuple(judged), attempt, level, round(p, 6), switched=p <= level, at=stamp
    )
    body = msgspec.json.format(msgspec.json.encode([*verdicts, verdict]), indent=2)
    if not stack.labels.write_over(_KEY, body, etag):
        raise CommandError("another command judged a candidate at the same time: give the command again")
    return _applied(stack, verdict, models[0].name)


def trained_drives(stack: Stack, model: Model) -> set[str]:
    """Return the drives that a model was trained on, and those of the models that its training began from."""
    drives = set[str]()
    while model.training:
        drives |= {dataset.drive for dataset in model.training.datasets}
        # A revision begins from one that was there before, so this ends.
        model = find_revision(stack, model.training.start)
    return drives


def sign_flip(differences: Sequence[float]) -> float:
    """Compute the one-sided p-value of the exact sign-flip test: how often flipped signs give at least this sum."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(sums >= sum(differences) - _ROUNDING))


def _applied(stack: Stack, verdict: Verdict, old: str) -> Verdict:
    if verdict.switched:
        new = find_revision(stack, verdict.new)

        def change(index: CatalogueIndex) -> CatalogueIndex:
            without = CatalogueIndex(index.models, tuple(name for name in index.active if name != old))
            return with_model(without, new, active=True)

        change_index(stack, change)
    return verdict


def _read_verdicts(stack: Stack) -> tuple[list[Verdict], str]:
    found = stack.labels.read_tagged(_KEY, _MAX_BYTES)
    if found is None:
        return [], ""
    body, etag = found
    try:
        return msgspec.json.decode(body, type=list[Verdict]), etag
    except msgspec.DecodeError as e:
        raise CommandError(f"{stack.labels.uri(_KEY)} cannot be decoded ({e}): restore an earlier version of it") from e
