"""A bill is the metered use times the price table."""

from __future__ import annotations

import pytest

from autolabel.reporting import read_prices
from local import Usage
from tools.cost.bill import Bill, of_notebook, of_uploads, short_name, without_reviews
from tools.cost.durations import with_modelled_durations

PRICES = read_prices()


def test_a_bill_prices_units_for_a_million_frames() -> None:
    used = [
        Usage("s3", "PutObject", "", 10, 10.0, 1_000),
        Usage("s3", "PutObject", "autolabel-EndpointRole-1A2B3C", 10, 10.0, 1_000),
        Usage("dynamodb", "PutItem", "autolabel-SubmitFunction-AB12", 10, 10.0, 0),
        Usage("lambda", "Duration", "autolabel-SubmitFunction-AB12", 1, 0.5, 0),
        Usage("lambda", "Duration", "autolabel-SubmitFunction-CD34", 1, 0.5, 0),
    ]
    bill = Bill.of("run", used, 10, PRICES)
    assert [(line.operation, line.caller, line.each) for line in bill.lines] == [
        ("PutObject", "account", 1.0),
        ("PutObject", "EndpointRole", 1.0),
        ("Duration", "SubmitFunction", 0.1),
        ("PutItem", "SubmitFunction", 1.0),
    ]
    assert bill.dollars == pytest.approx(5 + 5 + 0.625 + 1.33334)
    assert bill.without_puts(PRICES) == pytest.approx(0.625 + 1.33334)
    assert bill.grouped(lambda line: line.service) == [
        ("s3", 10.0),
        ("lambda", pytest.approx(1.33334)),
        ("dynamodb", 0.625),
    ]


def test_five_transitions_of_each_frame_cost_125_dollars() -> None:
    assert Bill.of("run", [Usage("stepfunctions", "Transition", "frame", 50, 50.0, 0)], 10, PRICES).dollars == 125


def test_an_operation_without_a_price_is_refused() -> None:
    with pytest.raises(LookupError, match="no price of Describe of athena"):
        Bill.of("run", [Usage("athena", "Describe", "", 1, 1.0, 0)], 1, PRICES)


def test_only_uploads_of_the_account_are_the_pipelines() -> None:
    upload, look = Usage("s3", "PutObject", "", 1, 1.0, 5), Usage("stepfunctions", "ListExecutions", "", 9, 9.0, 5)
    answer, told = (
        Usage("s3", "PutObject", "autolabel-EndpointRole-1A2B3C", 1, 1.0, 5),
        Usage("sns", "Publish", "autolabel-EndpointRole-1A2B3C", 1, 1.0, 5),
    )
    assert of_uploads([upload, look, answer, told]) == [upload, answer, told]
    assert of_notebook([upload, look, answer, told]) == [upload, look, answer]
    review = Usage("s3", "PutObject", "autolabel-LabelingRole-1A2B3C", 1, 1.0, 5)
    assert without_reviews([upload, review, answer]) == [upload, answer]


def test_modelled_durations_are_processor_time_and_waits() -> None:
    name = "autolabel-CollectFunction-AB12"
    used = [Usage("lambda", "Duration", name, 10, 99.0, 0), Usage("s3", "GetObject", name, 10, 10.0, 0)]
    duration, request = with_modelled_durations(used, {"CollectFunction": 0.3}, {"CollectFunction": 512})
    # 0.3 s of a whole processor, while 512 MB get 512/1769 of one; ten waits of 20 ms.
    assert duration.units == pytest.approx((0.3 * 1769 / 512 + 0.2) / 2)
    assert request == used[1]


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        ("", "account"),
        ("states", "states"),
        ("autolabel-label-drive", "label-drive"),
        ("autolabel-SubmitFunction-1A2B", "SubmitFunction"),
        ("autolabel-LabelDriveMachine-1A2B/LabelShards", "LabelDriveMachine"),
    ],
)
def test_callers_have_their_logical_names(caller: str, name: str) -> None:
    assert short_name(caller) == name
