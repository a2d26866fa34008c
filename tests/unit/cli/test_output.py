"""What the commands print where there is no terminal."""

from __future__ import annotations

import pytest
from rich.table import Table

from autolabel_cli.output import console, print_table

LONG = "drive " * 100 + ":car: [end]"


def table_of(*cells: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("first", "second"):
        table.add_column(heading, overflow="fold")
    for cell in cells:
        table.add_row("x", cell)
    return table


def test_no_line_is_wrapped_or_cut_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.print(LONG, markup=False)
    assert capsys.readouterr().out.splitlines() == [LONG]
    print_table(console, table_of("short", LONG.replace("[", "\\[")))
    assert capsys.readouterr().out.splitlines() == ["first  second", "x      short", f"x      {LONG}"]
