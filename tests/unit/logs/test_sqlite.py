"""ROS 2 bags in SQLite files: few and exact reads, named refusals, and nothing of the file is run."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from autolabel.contracts.errors import LogRefused
from autolabel.logs import UnreadRange, inspect_log
from tests.fakes.counting import Counting
from tests.fakes.logs import FRONT, REAR, Sent, drive, mcap_log, serialised, sqlite_log
from tests.unit.logs.reading import Reading, read_log

FRAMES = 8
PAGE = 4096


def changed(body: bytes, path: Path, change: Callable[[sqlite3.Connection], object]) -> bytes:
    path.write_bytes(body)
    with closing(sqlite3.connect(path)) as database:
        change(database)
        database.commit()
    return path.read_bytes()


def unread(reading: Reading) -> list[tuple[str, int, int]]:
    return [(item.reason, item.start, item.end) for item in reading.items if isinstance(item, UnreadRange)]


@pytest.mark.parametrize("topic", [FRONT, REAR])
@pytest.mark.parametrize("page", [1024, PAGE])
def test_a_plan_takes_five_reads_and_a_topic_little_more_than_its_payload(
    topic: str, page: int, tmp_path: Path
) -> None:
    sent = [message._replace(noise=150_000) for message in drive(15, width=640, height=480)]
    body = changed(sqlite_log(sent), tmp_path / "bag", lambda d: d.executescript(f"PRAGMA page_size={page}; VACUUM"))
    source = Counting(body)
    inspect_log(source, "log")
    assert len(source.reads) <= 5
    reading = read_log(body, topics=[topic])
    assert len(reading.frames) == 15
    payload = sum(len(serialised(message, "cdr")[1]) for message in sent if message.topic == topic)
    assert reading.source.bytes_read <= (1.2 if page == PAGE else 1.4) * payload
    # One for each message, and the pages between.
    assert len(reading.source.reads) <= 4 * 15


def test_the_pages_of_a_bag_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from autolabel.logs import sqlite_pages

    body = sqlite_log(drive(30, noise=50_000))
    monkeypatch.setattr(sqlite_pages, "_HELD_BLOCKS", 20)
    held = []
    fetch = sqlite_pages.Pages._fetch

    def watched(pages: sqlite_pages.Pages, number: int, end: int) -> None:
        fetch(pages, number, end)
        held.append(len(pages._held))

    monkeypatch.setattr(sqlite_pages.Pages, "_fetch", watched)
    assert read_log(body, 7).keys == read_log(mcap_log(drive(30))).keys
    assert max(held) <= 20


@pytest.mark.parametrize("page", [512, 65536])
def test_pages_of_any_size_are_read(page: int, tmp_path: Path) -> None:
    body = sqlite_log(drive(20))
    other = changed(body, tmp_path / "bag", lambda d: d.executescript(f"PRAGMA page_size={page}; VACUUM"))
    assert body[16:18] != other[16:18]
    assert read_log(other, 7).items == read_log(body).items


def test_a_bag_of_an_old_recorder_has_no_definitions_and_gives_all_frames() -> None:
    old = "DROP TABLE message_definitions; DROP TABLE schema; DROP TABLE metadata"
    assert read_log(sqlite_log(drive(FRAMES), change=old)).items == read_log(sqlite_log(drive(FRAMES))).items


def test_messages_that_are_compressed_one_by_one_are_read(tmp_path: Path) -> None:
    def compress(database: sqlite3.Connection) -> None:
        for row, data in database.execute("SELECT id, data FROM messages").fetchall():
            packed = zstandard.compress(data) if row > 1 else zstandard.compress(data)[:-9]
            database.execute("UPDATE messages SET data = ? WHERE id = ?", (packed, row))

    body = sqlite_log(drive(FRAMES))
    reading = read_log(changed(body, tmp_path / "bag", compress))
    # Of a cut frame zstd gives what is there, or nothing; neither is a message.
    assert len(reading.frames) == 2 * FRAMES - 1
    assert reading.tally.refused
    assert reading.keys == read_log(body).keys[1:]


@pytest.mark.parametrize("end", [99, 5_000, -PAGE, -1])
def test_a_bag_that_is_cut_off_is_refused_and_told_how_to_recover(end: int) -> None:
    with pytest.raises(LogRefused, match=r"^drive\.log: .*sqlite3 <file> \.recover") as refused:
        read_log(sqlite_log(drive(FRAMES))[:end])
    assert refused.value.reason == "log-cut-off"


def test_a_bag_whose_messages_are_in_its_wal_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript("CREATE TABLE topics(id); CREATE TABLE messages(id)")
        with pytest.raises(LogRefused, match="-wal file"):
            read_log(path.read_bytes())
    # A recorder that ended well left all in the main file.
    body = changed(sqlite_log(drive(FRAMES)), path, lambda d: d.execute("PRAGMA journal_mode = WAL"))
    assert body[18] == 2
    assert len(read_log(body).frames) == 2 * FRAMES


def test_a_damaged_page_costs_the_rows_of_its_range_only() -> None:
    body = sqlite_log(drive(40))
    whole = read_log(body)
    # Leaves of tables begin with 13. The first ones are those of the schema and topics.
    leaf = [at for at in range(0, len(body), PAGE) if body[at] == 13][20]
    reading = read_log(body[:leaf] + bytes([77]) + body[leaf + 1 :], 3)
    assert {reason for reason, *_ in unread(reading)} == {"chunk-damaged"}
    lost = {row for _, start, end in unread(reading) for row in range(start, end)}
    assert reading.frames == [frame for frame in whole.frames if frame.place.start not in lost]
    assert 0 < len(whole.frames) - len(reading.frames) < 10


@pytest.mark.slow
def test_pages_in_a_circle_are_refused() -> None:
    body = sqlite_log(drive(300))
    # An inner page begins with 5; its cells begin with the number of a page.
    inner = max(at for at in range(0, len(body), PAGE) if body[at] == 5)
    cells = [inner + int.from_bytes(body[inner + 12 + 2 * n :][:2], "big") for n in range(40)]
    first, later = (body[cells[n] :][:4] for n in (0, 39))
    assert first != later
    reading = read_log(body[: cells[39]] + first + body[cells[39] + 4 :])
    assert {reason for reason, *_ in unread(reading)} == {"chunk-damaged"}
    assert len(set(reading.keys)) == len(reading.keys) > 500


def test_a_message_whose_pages_are_lost_is_refused_alone() -> None:
    sent = drive(FRAMES, width=200, height=200)
    body = sqlite_log(sent)
    page = body.index(serialised(sent[2], "cdr")[1][40_000:40_100]) // PAGE * PAGE
    # A page of a long row begins with the number of the next one.
    reading = read_log(body[:page] + b"\xff\xff\xff\xff" + body[page + 4 :])
    assert unread(reading) == [("message-damaged", 3, 4)]
    assert len(reading.frames) == 2 * FRAMES - 1


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, "


@pytest.mark.parametrize(
    ("table", "made"),
    [
        ("messages", ""),
        ("topics", ""),
        ("messages", f"CREATE VIEW messages AS {ENDLESS} 1 AS topic_id, i AS timestamp, x'' AS data FROM n"),
        ("topics", f"CREATE VIEW topics AS {ENDLESS} 'a' AS name, 'b' AS type, 'c' AS serialization_format FROM n"),
        ("messages", "CREATE VIRTUAL TABLE messages USING fts5(id, topic_id, timestamp, data)"),
        (
            "messages",
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data AS (zeroblob(90000000)))",
        ),
    ],
    ids=["no messages", "no topics", "endless view", "endless topics", "virtual table", "calculated column"],
)
def test_only_real_tables_are_read(table: str, made: str) -> None:
    with pytest.raises(LogRefused, match=f"its table {table} lacks") as refused:
        read_log(sqlite_log(drive(2), change=f"DROP TABLE {table}; {made}"))
    assert refused.value.reason == "log-kind"


def test_rows_that_are_not_messages_are_refused_alone_and_not_read() -> None:
    change = """
        UPDATE messages SET data = zeroblob(135000000) WHERE id = 1;
        UPDATE messages SET data = 'text' WHERE id = 3;
        UPDATE messages SET timestamp = 'noon' WHERE id = 4;
        UPDATE messages SET topic_id = 'front' WHERE id = 6;
        UPDATE messages SET topic_id = 1.5 WHERE id = 7;
        CREATE TRIGGER t BEFORE INSERT ON messages BEGIN DELETE FROM messages; END;
    """
    body = sqlite_log(drive(FRAMES), change=change)
    reading = read_log(body)
    assert unread(reading) == [("chunk-too-large", 1, 2), ("message-damaged", 3, 4), ("message-damaged", 4, 5)]
    assert len(reading.frames) == 2 * FRAMES - 5
    assert not reading.tally.complete
    assert reading.source.bytes_read < 1_000_000


def test_long_texts_in_rows_do_not_fill_the_memory() -> None:
    change = "UPDATE messages SET topic_id = CAST(zeroblob(30000000) AS TEXT) WHERE id = 4"
    reading = read_log(sqlite_log(drive(FRAMES), change=change))
    assert {reason for reason, *_ in unread(reading)} == {"chunk-damaged"}
    more = "INSERT INTO topics SELECT id + 1 + max(id) OVER (), name, type, '', '', '' FROM topics;"
    many = "UPDATE topics SET name = CAST(zeroblob(900000) AS TEXT);" + 4 * more
    with pytest.raises(LogRefused, match="topics or definitions"):
        read_log(sqlite_log(drive(FRAMES), change=many))


@pytest.mark.parametrize("row", [-5, 2**63 - 1])
def test_ids_of_any_size_are_read_or_refused(row: int) -> None:
    body = sqlite_log(drive(FRAMES), change=f"UPDATE messages SET id = {row} WHERE id = 3")  # noqa: S608
    if row < 0:
        with pytest.raises(LogRefused, match="ids -5 to 24"):
            read_log(body)
    else:
        assert len(read_log(body, 7).frames) == 2 * FRAMES


def test_messages_in_a_serialisation_that_nobody_knows_are_refused_and_counted() -> None:
    reading = read_log(sqlite_log(drive(FRAMES), change="UPDATE topics SET serialization_format = 'own'"))
    assert reading.refused == {"serialisation-unknown": 2 * FRAMES}


def test_a_bag_without_messages_or_cameras_says_so() -> None:
    assert read_log(sqlite_log(drive(1), change="DELETE FROM messages")).items == []
    with pytest.raises(LogRefused, match="no topic with pictures"):
        read_log(sqlite_log([Sent("/lidar", 1, 1, noise=9)]))
