"""The dated price table of this version."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from autolabel_cli.errors import CommandError

_PRICES = Path(__file__).with_name("prices.json")


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
        """Return the price of billed units. CommandError for an operation that is not in the table."""
        prices = self.million_units.get(service, {})
        price = prices.get(operation, prices.get("*"))
        if price is None:
            raise CommandError(f"{_PRICES.name} has no price of {operation} of {service}: add one, 0 if it is free")
        return units * price / 1e6

    def review_dollars(self, objects: float) -> float:
        """Return Ground Truth's price of a month with these objects."""
        left, below, dollars = objects, 0, 0.0
        for until, price in self.ground_truth_objects:
            count = left if until is None else min(left, until - below)
            dollars, left, below = dollars + count * price, left - count, until or 0
        return dollars


@cache
def read_prices() -> Prices:
    """Read the price table of this version."""
    return msgspec.json.decode(_PRICES.read_bytes(), type=Prices)
