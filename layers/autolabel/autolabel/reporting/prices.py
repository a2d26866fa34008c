"""The dated price table of this version."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

_TABLE = "prices.json"


class Prices(msgspec.Struct, frozen=True):
    """Dated prices of one Region in dollars, from AWS's pages, which the table names.

    `instance_hours`: by type. `orchestration_per_million`: of units, for all services but SageMaker, without
    state transitions and reviews (make bench-cost).
    `ground_truth_objects`: of a month's objects, up to a number, a piece. `storage_gigabyte_month`: of S3's standard
    class. `million_units`: of a million billed units by service and operation, `*` for all other operations; functions
    on arm64, whose `Duration` is in GB-seconds; logs in bytes.
    """

    region: str
    date: str
    source: str
    instance_hours: dict[str, float]
    orchestration_per_million: float
    ground_truth_objects: tuple[tuple[int | None, float], ...]
    storage_gigabyte_month: float
    million_units: dict[str, dict[str, float]]

    def dollars(self, service: str, operation: str, units: float) -> float:
        """Return the price of billed units. Raises LookupError for an operation that the table lacks."""
        prices = self.million_units.get(service, {})
        price = prices.get(operation, prices.get("*"))
        if price is None:
            raise LookupError(f"{_TABLE} has no price of {operation} of {service}: add one, 0 if it is free")
        return units * price / 1e6

    def review_dollars(self, objects: float) -> float:
        """Return Ground Truth's price of a month with these objects."""
        left, below, dollars = objects, 0, 0.0
        for until, price in self.ground_truth_objects:
            count = left if until is None else min(left, until - below)
            dollars, left, below = dollars + count * price, left - count, until or 0
        return dollars

    def run_dollars(self, answers: int, reviewed: int) -> float:
        """Return the price of a run's answers and of the frames that Ground Truth gets, as a month's first objects.

        Without what counts cannot tell: the instances of the models, transitions, storage, and the reviewers' pay.
        """
        return answers * self.orchestration_per_million / 1e6 + self.review_dollars(reviewed)


@cache
def read_prices() -> Prices:
    """Read the price table of this version."""
    return msgspec.json.decode(files("autolabel.reporting").joinpath(_TABLE).read_bytes(), type=Prices)
