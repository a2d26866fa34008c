"""Records of a cloud that outlive it: documents in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Number it anew when a document, or ministack's files of objects, change their shape.
FORMAT = 1
# While the cloud ends, work fails because its servers end one after the other. None of that is kept.
_OUTCOMES = frozenset({"execution", "job", "failure"})
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records
  (kind TEXT, place TEXT, name TEXT, document TEXT NOT NULL, PRIMARY KEY (kind, place, name)) WITHOUT ROWID
"""


class UnreadableState(RuntimeError):
    """The state that a cloud kept cannot be read; the message names its folder and the reason."""


class Records:
    """The records of a cloud that keeps nothing."""

    def put(self, kind: str, place: str, name: str, document: Any) -> None:
        """Keep a document in the place of an earlier one; it is kept when this returns."""

    def drop(self, kind: str, place: str, name: str) -> None:
        """Forget a document; has no effect when there is none."""

    def clear(self, kind: str, place: str) -> None:
        """Forget all documents of a place."""

    def all(self, kind: str, place: str = "") -> Iterator[tuple[str, Any]]:
        """Yield names and documents of a place."""
        yield from ()

    def places(self, kind: str) -> list[str]:
        """Return the places that have documents."""
        return []


class KeptRecords(Records):
    """Records in a file of `folder`; safe for threads.

    What was put survives the death of this process, but not of the machine. Outcomes of work are not taken once
    `ending` is set. Raises UnreadableState for a damaged file, and for one of another format.
    """

    def __init__(self, folder: Path, ending: threading.Event) -> None:
        self._ending = ending
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "records.sqlite"
        if not path.exists() and any(folder.iterdir()):
            raise UnreadableState(f"the kept state in {folder} is damaged: {path.name} is missing")
        try:
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            (found,) = self._file.execute("PRAGMA user_version").fetchone()
            if found not in (0, FORMAT):
                raise UnreadableState(f"the kept state in {folder} has format {found}; this version reads {FORMAT}")
            self._open()
        except (sqlite3.Error, ValueError) as e:
            raise UnreadableState(f"the kept state in {folder} is damaged: {path.name}: {e}") from e

    def _open(self) -> None:
        (verdict,) = self._file.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise ValueError(verdict)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute(_SCHEMA)
        self._file.execute(f"PRAGMA user_version = {FORMAT}")
        for (document,) in self._file.execute("SELECT document FROM records"):
            json.loads(document)

    def put(self, kind: str, place: str, name: str, document: Any) -> None:
        if kind in _OUTCOMES and self._ending.is_set():
            return
        text = json.dumps(document, ensure_ascii=False)
        self._execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", kind, place, name, text)

    def drop(self, kind: str, place: str, name: str) -> None:
        self._execute("DELETE FROM records WHERE kind = ? AND place = ? AND name = ?", kind, place, name)

    def clear(self, kind: str, place: str) -> None:
        self._execute("DELETE FROM records WHERE kind = ? AND place = ?", kind, place)

    def all(self, kind: str, place: str = "") -> Iterator[tuple[str, Any]]:
        found = self._execute("SELECT name, document FROM records WHERE kind = ? AND place = ?", kind, place)
        return ((name, json.loads(document)) for name, document in found)

    def places(self, kind: str) -> list[str]:
        return [place for (place,) in self._execute("SELECT DISTINCT place FROM records WHERE kind = ?", kind)]

    def _execute(self, statement: str, *values: str) -> list[Any]:
        with self._lock:
            return self._file.execute(statement, values).fetchall()
