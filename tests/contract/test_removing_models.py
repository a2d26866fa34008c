"""What `autolabel models remove` deletes, keeps and refuses."""

from __future__ import annotations

import msgspec
import pytest

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.ports import PendingUnit
from autolabel.contracts.units import Unit
from autolabel_cli.errors import CommandError
from autolabel_cli.models.bringing import bring_endpoint
from autolabel_cli.models.catalogue import add_model, change_index, read_index, without_model
from autolabel_cli.models.sources import Source
from autolabel_cli.models.stacks import ModelStack
from tests.contract.model_account import (
    IMAGE,
    Account,
    bring,
    draft,
    remove,
    remove_from_catalogue,
)


def run_of(account: Account, model: str, *, pending: bool) -> None:
    """A running run whose one frame is asked of a model."""
    document = DriveDocument("car", {"front": Camera()})
    account.stack.ledger.allocate_run(Run("d-1", "0001", document, "e", (model,), "2026.1", ("car",)))
    account.states.running.append("d-1-0001")
    if pending:
        frame = FrameKey("d-1", "front", "1700000000000000000", "png")
        unit = Unit.of(frame, "e", model)
        account.stack.ledger.add_pending(PendingUnit(unit, frame.key, "e", attempt=1, errors=0, since=1.0))


def test_a_model_goes_with_all_that_it_costs(account: Account) -> None:
    account.s3.put_object(Bucket="weights", Key="w.tar.gz", Body=b"weights")
    bring(account, Source(IMAGE, "s3://weights/w.tar.gz"))
    bring(account, Source(IMAGE))
    assert remove(account).deleted == ("autolabel-street-0001", "autolabel-street-0002")
    assert "autolabel-street-0001" not in account.formation.stacks
    assert [thing.key for thing in account.stack.labels.list("models/")] == []
    assert [thing.key for thing in account.stack.labels.list("catalogue/models/")] == [
        "catalogue/models/street/0001.json",
        "catalogue/models/street/0002.json",
    ]
    with pytest.raises(CommandError, match="has no model 'street'"):
        remove(account)


def test_a_model_that_a_run_waits_for_stays_unless_forced(account: Account) -> None:
    bring(account)
    bring(account, threshold=0.5)
    run_of(account, "street.0001", pending=True)
    with pytest.raises(CommandError, match=r"answers of street \(drive d-1, run 0001\).*--force"):
        remove(account)
    assert read_index(account.stack).models == {"street": "0002"}
    assert remove(account, force=True).deleted == ("autolabel-street-0001",)


def test_a_run_that_has_not_asked_yet_holds_the_model(account: Account) -> None:
    bring(account)
    run_of(account, "street.0001", pending=False)
    with pytest.raises(CommandError, match="drive d-1, run 0001"):
        remove(account)


def test_a_run_of_another_model_holds_nothing(account: Account) -> None:
    bring(account)
    run_of(account, "other.0001", pending=True)
    assert remove(account).deleted == ("autolabel-street-0001",)


def test_an_endpoint_that_another_model_uses_stays(account: Account) -> None:
    model = bring(account).model
    add_model(account.stack, msgspec.structs.replace(model, name="tiles"))
    removed = remove(account)
    assert (removed.deleted, removed.kept, removed.active) == ((), (model.endpoint,), ("tiles",))
    assert ModelStack(account.stack, model.endpoint).exists()


def test_an_endpoint_that_was_there_before_stays(account: Account) -> None:
    bring_endpoint(account.stack, draft(), "theirs", active=None)
    removed = remove(account)
    assert (removed.deleted, removed.kept) == ((), ("theirs",))


def test_a_removal_that_was_interrupted_is_finished_by_the_next(account: Account) -> None:
    bring(account)
    change_index(account.stack, lambda index: without_model(index, "street"))
    assert remove(account).deleted == ("autolabel-street-0001",)


def test_what_an_interrupted_addition_left_can_be_removed(account: Account) -> None:
    bring(account)
    remove_from_catalogue(account)
    assert remove(account).deleted == ("autolabel-street-0001",)


def test_what_an_interrupted_addition_left_goes_though_its_revision_became_another_endpoints(account: Account) -> None:
    bring(account)
    remove_from_catalogue(account)
    bring_endpoint(account.stack, draft(), "theirs", active=None)
    removed = remove(account)
    assert (removed.deleted, removed.kept) == (("autolabel-street-0001",), ("theirs",))
