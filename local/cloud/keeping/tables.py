"""Items of tables: each one is recorded when it is written, and a table of the same name begins with them."""

from __future__ import annotations

import json
from typing import Any

from local.cloud import symbols
from local.cloud.cloudformation.completion import complete
from local.records import Records

_MODULE = "services.dynamodb"
Table = dict[str, Any]


class KeptTables:
    """The items of all tables. A deleted table's items are forgotten once the cloud is `live`."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._set = symbols.find(_MODULE, "_set_item")
        self._remove = symbols.find(_MODULE, "_remove_item")
        self.live = False

    def install(self) -> None:
        """Record items, and give tables of stacks their former ones."""
        symbols.replace(_MODULE, "_set_item", self._put, parameters=("table", "pk_val", "sk_val", "item"))
        symbols.replace(_MODULE, "_remove_item", self._drop, parameters=("table", "pk_val", "sk_val"))
        symbols.wrap(_MODULE, "drop_stream_records", self._deletion, parameters=("table_name", "table"))
        complete("AWS::DynamoDB::Table", self._fill)

    def _put(self, table: Table, pk_val: Any, sk_val: Any, item: Any) -> Any:
        former = self._set(table, pk_val, sk_val, item)
        self._records.put("item", table["TableName"], json.dumps([pk_val, sk_val]), item)
        return former

    def _drop(self, table: Table, pk_val: Any, sk_val: Any) -> Any:
        former = self._remove(table, pk_val, sk_val)
        self._records.drop("item", table["TableName"], json.dumps([pk_val, sk_val]))
        return former

    def _deletion(self, original: Any) -> Any:
        def drop(table_name: str, table: Table | None = None) -> None:
            # Before, a deployment may have failed, and its end must not cost the items.
            if self.live:
                self._records.clear("item", table_name)
            original(table_name, table)

        return drop

    def _fill(self, name: str, old: Table, new: Table) -> None:
        if old:
            return
        table = symbols.find(_MODULE, "_tables")[name]
        for key, item in self._records.all("item", name):
            self._set(table, *json.loads(key), item)
