"""Which labels of a dataset an exclusion leaves out."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.verification import BETWEEN, BLIND_AUDIT, KEY_FRAME
from autolabel.labels.exclusions import Exclusion, Exclusions, LineOrigin, Makers, read_exclusions, with_makers
from autolabel.labels.manifest import LabelledBy, Provenance
from autolabel.labels.reviews import Review
from tests.fakes.bucket import FakeBucket

MODELS = ("yolox-nano.0001",)
kinds = st.sampled_from([KEY_FRAME, BETWEEN, BLIND_AUDIT])
workers = st.sampled_from(["ann", "bob", "cid", ""])
# A strip begins and ends with a key frame.
strips = st.lists(st.tuples(kinds, workers), max_size=8).map(lambda mid: [(KEY_FRAME, "ann"), *mid, (KEY_FRAME, "bob")])


def line(triage: str, worker: str, labelled_by: LabelledBy) -> LineOrigin:
    review = Review(worker=worker) if worker and triage != BETWEEN else msgspec.UNSET
    return LineOrigin(Provenance(models=MODELS, triage=triage, labelled_by=labelled_by), review)


@given(strips)
def test_a_frame_between_has_the_reviewers_of_both_its_key_frames(strip: list[tuple[str, str]]) -> None:
    by = {BETWEEN: LabelledBy.MODEL, KEY_FRAME: LabelledBy.MODEL_AND_PERSON, BLIND_AUDIT: LabelledBy.PERSON}
    lines = [(index, line(*one, by[one[0]])) for index, one in enumerate(strip)]
    found = list(with_makers(lines))
    assert [index for index, _ in found] == list(range(len(strip)))
    keys = [index for index, (kind, _) in enumerate(strip) if kind == KEY_FRAME]
    for index, makers in found:
        kind, worker = strip[index]
        beside = [max(k for k in keys if k <= index), min(k for k in keys if k >= index)]
        expected = {strip[k][1] for k in beside} if kind == BETWEEN else {worker}
        assert makers.reviewers == expected - {""}
        # A person's label stays, also after a look at the pre-label.
        assert makers.models == (frozenset(MODELS) if kind == BETWEEN else frozenset())


def test_a_model_is_meant_with_all_its_revisions_or_with_one() -> None:
    made = Makers(models=frozenset(MODELS))
    assert Exclusions(models=frozenset({"yolox-nano"})).why(made) == "excluded model"
    assert Exclusions(models=frozenset({"yolox-nano.0001"})).why(made) == "excluded model"
    assert Exclusions(models=frozenset({"yolox", "yolox-nano.0002"})).why(made) == ""
    of_several = Makers(reviewers=frozenset({"ann", "bob"}))
    assert Exclusions(reviewers=frozenset({"bob"})).why(of_several) == "excluded reviewer"


@given(st.text(), st.text())
def test_reviewers_of_any_name_have_a_decision_each(one: str, other: str) -> None:
    labels = FakeBucket("labels")
    for name, excluded in ((one, True), (other, one == other)):
        decision = Exclusion("reviewer", name, "me", "2026-01-01T00:00:00+00:00", excluded, ("d-0001",))
        labels.write(decision.key, msgspec.json.encode(decision))
        assert decision.key.isascii()
    # One that was taken back does not count.
    assert read_exclusions(labels) == Exclusions(frozenset({one}), frozenset(), frozenset({"d-0001"}))
