"""Runs that began before the code changed end after it: old requests, old folders and old items, the functions of now.

`old_run/` keeps journals of whole runs, recorded by the functions of that time, and the state machine's definition of
that time, by which an execution goes on until it ends. Each test puts the stack back to what it held before one entry,
and has the rest of the journal happen again: the old definition makes the requests, the functions of now answer them.
What the old code asked, answered, wrote and told must be in what comes out now, with more beside it or not. Once a
stack holds to the letter what the old code left it with, the entries that follow are other tests'.

The clock stands where the journal says, so that times are compared as well. Pages, pictures and SENTENCES are not: only
that they are there. What operators are told by SNS are sentences, and left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache

import msgspec
import pytest

from autolabel.contracts.verification import VerifyUncertain
from tests.contract.old_run.walk import (
    CONNECTION,
    Ended,
    Entry,
    Execution,
    Json,
    Stage,
    State,
    World,
    decode,
    read_journal,
    stage,
)
from tests.fakes.evidence import evidence_of

NAMES = ("boxes", "failing", "label_studio", "nothing")
RUN = "/labels/drive-7/0001/"
# States whose functions write the same again when the answer to a call was lost.
REPEATED = {"PlanShards", "LabelShard", "Assemble", "OpenProject", "Settle", "Publish"}
# Fields for people: sentences, and Label Studio's page. No function reads them, so they may change; only their presence
# is checked.
SENTENCES = {"notes", "why", "expert_instruction", "label_config", "standing", "acceptance"}
# Bytes of documents that may gain fields.
SIZES = {"manifest_bytes"}
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


class Journal:
    """A run that was recorded. `states`: what the stack held before each entry, and at the end."""

    def __init__(self, name: str) -> None:
        kept = read_journal(name)
        self.studio, self.settings, self.until = kept["studio"], kept["settings"], kept["until"]
        self.result: Json = kept["result"]
        self.entries: list[Entry] = kept["entries"]
        self.states: list[State] = [_proof(self.entries)]
        for entry in self.entries:
            state = {**self.states[-1], **entry.get("changes", {})}
            self.states.append({place: value for place, value in state.items() if value is not None})

    def gone(self, count: int) -> set[str]:
        """What the first entries made and took away."""
        return {place for state in self.states[:count] for place in state} - self.states[count].keys()


def _proof(entries: Sequence[Entry]) -> State:
    """The evidence of today for that of the first version which the run found: this does not count any more."""
    found = {place: value for entry in entries for place, value in entry.get("changes", {}).items()}
    policy = VerifyUncertain(target=0.9, stretch=1)
    proof = {}
    for place, value in found.items():
        if "/audits/" in place and value and "trials" in value["json"] and "drive-7" not in place:
            evidence = evidence_of(value["json"]["recipe"], value["json"]["drive"], policy)
            proof[place.replace("/audits/", "/audits/2/")] = {"json": json.loads(msgspec.json.encode(evidence))}
    return proof


@cache
def journal(name: str) -> Journal:
    return Journal(name)


def requests(name: str) -> list[int]:
    """The places of the entries in which a function was asked for something."""
    return [place for place, entry in enumerate(journal(name).entries) if "function" in entry]


class AsRecorded(Exception):
    """Nothing that happened since differs from the journal in anything."""


class Replay(World):
    """A world in which a journal happens again, from the entry at `start` on for real.

    `whole`: goes on to the end, also where all is as recorded, and looks at the stack there.
    """

    def __init__(self, kept: Journal, stack: Stage, start: int, *, whole: bool = False) -> None:
        super().__init__()
        self._journal = kept
        self._stage = stack
        self._start = start
        self._whole = whole
        self._at = 0
        self._exact = True

    def happen(self, asked: Entry) -> Json:
        number, entry = self._at, self._journal.entries[self._at]
        assert asked.get("state") == entry.get("state"), f"the run went to {entry} and goes to {asked}"
        request = self.messages(asked) if "function" in asked else asked.get("asked")
        assert held(entry.get("asked", {}), request or {}) == [], f"entry {number} asks {asked}"
        self._at += 1
        done = entry
        if number == self._start:
            self._stage.restore(self._journal.states[number])
        if number >= self._start:
            done = self._really(number, entry, request)
        self.note(done)
        self.now = self._journal.entries[self._at]["at"] if self._at < len(self._journal.entries) else self.now
        if "error" in done:
            raise Ended(done["error"])
        return done.get("answer")

    def _really(self, number: int, entry: Entry, request: Json) -> Entry:
        """One entry for real, held against what was recorded."""
        if "function" not in entry:
            self._stage.write(entry.get("changes", {}))
            return entry
        done = self._stage.perform(entry["function"], request, entry["at"])
        what = f"entry {number}, {entry.get('state', 'others')}: {entry['function']}"
        recorded = {name: entry[name] for name in ("answer", "error", "effects") if name in entry}
        assert held(recorded, done) == [], f"{what} comes to {done}"
        assert recorded.keys() == done.keys() - {"said"}, f"{what} comes to {done}"
        if self._whole and self._at < len(self._journal.entries):
            return done
        after, recorded_after = self._stage.read(), self._journal.states[number + 1]
        assert held_state(recorded_after, after) == [], what
        assert self._journal.gone(number + 1) & after.keys() == set(), what
        self._exact &= done | {"said": ""} == recorded | {"said": ""} and request == entry.get("asked", request)
        if self._exact and after == recorded_after and not self._whole:
            raise AsRecorded
        return done

    def others(self, state: str) -> None:
        """What others did, up to the next request of the execution."""
        while self._at < len(self._journal.entries) and "state" not in (entry := self._journal.entries[self._at]):
            self.happen(entry)

    def lines(self, uri: str) -> list[Json]:
        there = self._journal.states[self._at] if self._at <= self._start else self._stage.read()
        return [json.loads(line) for line in decode(there[uri]).splitlines()]

    def run(self) -> Execution:
        """Have the journal happen; its execution."""
        execution = Execution({"drive": "drive-7", "run": "0001"}, self, self._journal.until)
        try:
            self.others("before the execution")
            result = execution.run()
        except AsRecorded:
            return execution
        assert held(self._journal.result, result) == []
        assert self._at == len(self._journal.entries)
        return execution


def held(old: Json, new: Json, place: str = "") -> list[str]:
    """Where what was is not in what is: a field is gone, or has another value."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{place}/{name} is gone" for name in old if name not in new]
        both = old.keys() & new.keys() - SENTENCES - SIZES
        return gone + [why for name in both for why in held(old[name], new[name], f"{place}/{name}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [why for n, (one, other) in pairs for why in held(one, other, f"{place}/{n}")]
    if old != new and isinstance(old, str) and isinstance(new, str) and is_json(old) and is_json(new):
        # A number of DynamoDB, a run in its item, the detail of an event.
        return held(json.loads(old), json.loads(new), place)
    return [] if old == new else [f"{place} was {old!r} and is {new!r}"]


def held_state(old: State, new: State) -> list[str]:
    said, says = (dict(said_at(place, value) for place, value in state.items()) for state in (old, new))
    return held(said, says)


def said_at(place: str, value: Json) -> tuple[str, Json]:
    """What a place says. Evidence has a new version, at a place of its own: only that there is some is checked."""
    if "/audits/" in place or place.endswith("/audit.json"):
        return place.replace("/audits/2/", "/audits/"), "evidence"
    return place, content(value)


def content(value: Json) -> Json:
    """What an object says, however its JSON is written."""
    match value:
        case {"json": said} | {"lines": said}:
            return said
        case {"text": str(text)}:
            return [json.loads(line) if is_json(line) else line for line in text.splitlines()]
    return value


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module")
def stack() -> Iterator[Stage]:
    # The recorded frames are headers without pixels, which no function of that time looked at.
    with stage() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr("autolabel.labels.failed_frames.check_pixels", lambda body, name: 0)
        yield stack


def prepare(stack: Stage, kept: Journal) -> Journal:
    stack.settings = kept.settings
    stack.account.label_studio = json.dumps(CONNECTION) if kept.studio else ""
    return kept


@pytest.mark.parametrize(("name", "start"), [(name, start) for name in NAMES for start in requests(name)])
def test_an_old_run_goes_on_from_every_request(stack: Stage, name: str, start: int) -> None:
    Replay(prepare(stack, journal(name)), stack, start).run()


# The other journals take too long here; the test above checks each of their steps.
@pytest.mark.parametrize("name", ["label_studio", "nothing"])
def test_an_old_run_goes_on_from_its_beginning_to_its_end(stack: Stage, name: str) -> None:
    Replay(prepare(stack, journal(name)), stack, 0, whole=True).run()


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, at) for name in NAMES for at, one in enumerate(journal(name).entries) if one.get("state") in REPEATED],
)
def test_a_call_whose_answer_was_lost_before_is_made_again(stack: Stage, name: str, number: int) -> None:
    kept = prepare(stack, journal(name))
    entry = kept.entries[number]
    stack.restore(kept.states[number + 1])
    done = stack.perform(entry["function"], entry["asked"], entry["at"])
    assert held(entry["answer"], done.get("answer")) == []
    assert held_state(kept.states[number + 1], stack.read()) == []


# The tests below check that the journals are complete. No function runs in them.


def test_the_journals_take_every_way_that_a_function_decides(stack: Stage) -> None:
    ways = set[tuple[str, str]]()
    for name in NAMES:
        ways |= Replay(journal(name), stack, len(journal(name).entries)).run().ways
    turns = ("Reconcile", "AwaitFrames", "FailedUnits", "PlanShards", "AwaitInference")
    assert ways == {
        *(("Everything answered?", to) for to in turns),
        *(("Any frames?", to) for to in ("Assemble", "LabelShards")),
        *(("Back-end?", to) for to in ("OpenProject", "LabelingJob")),
        *(("Job ended?", to) for to in ("Settle", "NextAttempt", "WaitForJob")),
        *(("Project annotated?", to) for to in ("Settle", "AwaitPeople")),
        *(("Anybody left?", to) for to in ("NextRound", "JobDone")),
        *(("Every job labelled?", to) for to in ("Publish", "FailedJobs")),
    }


def test_the_journals_hold_all_that_functions_leave_each_other() -> None:
    items: dict[str, set[str]] = {}
    objects = set[str]()
    for state in (state for name in NAMES for state in journal(name).states):
        for place, value in state.items():
            if place.startswith("ledger/"):
                pk, _, sk = place.removeprefix("ledger/").partition(" ")
                kind = sk.partition("#")[0] if pk.startswith("drive#") else pk.partition("#")[0]
                items.setdefault(kind, set()).update(value)
            objects.add(re.sub(r"\d+", "0", place.partition(RUN)[2]))
    assert items == {
        "pending": {"key", "etag", "attempt", "errors", "silences", "since", "invoked", "deadline", "location"},
        "failed": {"reason", "attempt", "at"},
        "answer": {"location"},
        "run": {"run", "outcome", "ended"},
        "waiting": {"token", "order", "models"},
        "job": {"token", "order"},
        "refused": {"reason", "detail", "at"},
        "late": {"at"},
        "closed": set(),
        "frozen": set(),
    }
    assert objects >= {
        *("drive.json", "frames.jsonl", "listing.json", "late.jsonl", "terms.json", "shards.jsonl", "triage.jsonl"),
        *(f"shards/0.{part}.jsonl" for part in ("frames", "manifest", "doubts", "detections", "issues")),
        *("shards/0.result.json", "masks/front/0.json", "segmentation/front/0.png", "audit.json"),
        *(f"manifests/verify-0{part}" for part in (".manifest", ".results.jsonl", "-again.manifest")),
        *("manifests/categories.json", "manifests/worker.liquid.html", "rejected.jsonl", "failed.jsonl"),
        *("dataset.manifest", "reviewed.jsonl", "suspects.jsonl", "summary.json", "report.html"),
    }


def test_old_runs_are_woken_and_asked_for_by_messages() -> None:
    told = [
        (entry["function"], effect)
        for name in NAMES
        for entry in journal(name).entries
        if "function" in entry
        for effect in entry.get("effects", [])
    ]
    assert {function for function, effect in told if "SendTaskSuccess" in effect} == {"collect", "webhook"}
    sent = [(function, message["kind"]) for function, effect in told for message in effect.get("SendMessage", [])]
    assert set(sent) == {("sweep", "close"), ("reconcile", "unit"), ("collect", "unit")}
    delivered = [entry["queue"] for name in NAMES for entry in journal(name).entries if "queue" in entry]
    assert sum(delivered) == len(sent)
