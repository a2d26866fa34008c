"""Archives of images and of one log give what a folder and the log give; what is dangerous is refused by name."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random

import pytest

from autolabel.contracts.errors import LogRefused
from autolabel.logs import UnreadRange, archive_files, inspect_log, plan_slices
from tests.fakes.archives import ARCHIVES, archive, entry, images
from tests.fakes.counting import Counting
from tests.fakes.logs import START, STEP, bag_log, drive, jpeg, mcap_log, sqlite_log
from tests.unit.logs.reading import Reading, read_log

FRAMES = 6
PICTURE = jpeg(99)


def refused(reading: Reading) -> dict[str, str]:
    """The reasons and details of what was refused: by the plan, or in a slice."""
    found = [*reading.index.unread, *(item for item in reading.items if isinstance(item, UnreadRange))]
    return {item.reason: item.detail for item in found}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_images_come_out_as_they_were_packed(kind: str) -> None:
    files = images(FRAMES) | {"run/notes.txt": b"rain", "run/front/.hidden.jpg": b"x", "__MACOSX/run/front/a.jpg": b"x"}
    reading = read_log(archive(files, kind))
    assert [(f.camera, f.place.name, f.body, f.clock) for f in reading.frames] == [
        (name.split("/")[1], name, body, "name") for name, body in images(FRAMES).items()
    ]
    assert [frame.timestamp for frame in reading.frames] == 2 * [START + number * STEP for number in range(FRAMES)]
    assert not reading.tally.refused
    assert reading.tally.complete
    assert reading.index.counts == {0: FRAMES, 1: FRAMES}
    assert reading.index.others == 1
    for slices in (2, 7):
        assert read_log(archive(files, kind), slices).items == reading.items


@pytest.mark.parametrize(("kind", "plan", "times"), [("zip", 4, 1.02), ("tar", 60, 1.1), ("tar.gz", 60, 2.1)])
def test_a_plan_takes_few_reads_and_files_are_read_once(kind: str, plan: int, times: float) -> None:
    large = {f"front/{START + n}.jpg": jpeg(n, 1600, 1200) for n in range(50)}
    body = archive(large, kind)
    source = Counting(body)
    inspect_log(source, "log")
    assert len(source.reads) <= plan
    reading = read_log(body, 7)
    assert len(reading.frames) == 50
    assert reading.source.bytes_read <= times * len(body) + 70_000


KITTI = "2011_09_26/2011_09_26_drive_0005_sync/image_02"
LINES = b"2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26.064389446\n\nnot a time\n"


@pytest.mark.parametrize(
    ("names", "cameras"),
    [
        (["2017-08-04-V2-Log1/2017-08-04-V2-Log1-FL/1501822123109584.png"], {"FL": [1501822123109584000]}),
        (
            [
                "samples/CAM_BACK/n008-2018-05-21-11-06-59-0400__CAM_BACK__1526915243047295.jpg",
                "sweeps/CAM_BACK/n008-2018-05-21-11-06-59-0400__CAM_BACK__1526915243147295.jpg",
            ],
            {"CAM_BACK": [1526915243047295000, 1526915243147295000]},
        ),
        (["a/sensors/cameras/ring_front_center/315968112449927216.jpg"], {"ring_front_center": [315968112449927216]}),
        (
            [f"{KITTI}/data/0000000001.png", f"{KITTI}/data/0000000000.png", f"{KITTI}/timestamps.txt"],
            {"image_02": [1317042146064389446, 1317042145964389445]},
        ),
        (["10.jpg", "9.jpg"], {"front": [START + STEP, START]}),
        (["drive 1/left/0000000000000012.jpg"], {"left": [START]}),
    ],
    ids=["Ford", "nuScenes", "Argoverse", "KITTI", "no folder", "numbers"],
)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_names_of_data_sets_are_read(names: list[str], cameras: dict[str, list[int]], kind: str) -> None:
    reading = read_log(archive({name: LINES if name.endswith("txt") else PICTURE for name in names}, kind))
    assert not reading.tally.refused
    found = {
        frame.camera: [f.timestamp for f in reading.frames if f.camera == frame.camera] for frame in reading.frames
    }
    assert found == cameras


def test_images_that_a_list_of_times_lacks_are_refused_by_name() -> None:
    names = [f"{KITTI}/data/{number}" for number in ("0.png", "2.png", "3.png", "4.png", "a.png")]
    reading = read_log(archive(dict.fromkeys(names, PICTURE) | {f"{KITTI}/timestamps.txt": LINES}))
    assert [frame.place.name for frame in reading.frames] == names[:1]
    assert [item.detail for item in reading.index.unread] == [
        f"'{name}' has no time in {KITTI}/timestamps.txt" for name in names[1:]
    ]


def test_folders_of_one_camera_name_are_refused_unless_one_is_chosen() -> None:
    body = archive(dict.fromkeys(("a/front/1.jpg", "b/front/1.jpg"), PICTURE))
    with pytest.raises(LogRefused, match="'a/front' and 'b/front' would both be named 'front'"):
        read_log(body)
    assert len(read_log(body, topics=["b/front"]).frames) == 1


def tar_with(*entries: tarfile.TarInfo) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as made:
        for name, body in images(FRAMES).items():
            made.addfile(entry(name, len(body)), io.BytesIO(body))
        for one in entries:
            made.addfile(one, io.BytesIO(PICTURE[: one.size]))
    return target.getvalue()


def zip_with(
    name: str, body: bytes = PICTURE, change: Callable[[zipfile.ZipInfo], object] | None = None, times: int = 1
) -> bytes:
    target = io.BytesIO(archive(images(FRAMES)))
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as made, warnings.catch_warnings(action="ignore"):
        for _ in range(times):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(info, body)
        if change:
            change(made.filelist[-1])
        made._didModify = True  # type: ignore[attr-defined]
    return target.getvalue()


def encrypted(info: zipfile.ZipInfo) -> None:
    info.flag_bits |= 1


def linked(info: zipfile.ZipInfo) -> None:
    info.external_attr = 0o120777 << 16


def unknown(info: zipfile.ZipInfo) -> None:
    info.compress_type = zipfile.ZIP_LZMA


ONE = len(PICTURE)
# Deflate takes a hundredth of it.
HUGE = b"".join(number.to_bytes(4) * 64 for number in range(160_000))
DANGEROUS = {
    "tar above": (tar_with(entry("../x.jpg", ONE)), "member-outside", "../x.jpg"),
    "tar absolute": (tar_with(entry("/etc/x.jpg", ONE)), "member-outside", "/etc/x.jpg"),
    "tar link": (tar_with(entry("run/l.jpg", 0, tarfile.SYMTYPE, "/etc/passwd")), "member-special", "run/l.jpg"),
    "tar hard link": (tar_with(entry("run/l.jpg", 0, tarfile.LNKTYPE, "run/a.jpg")), "member-special", "run/l.jpg"),
    "tar device": (tar_with(entry("run/null.jpg", 0, tarfile.CHRTYPE)), "member-special", "run/null.jpg"),
    "tar doubled": (tar_with(*2 * [entry("run/front/x.jpg", ONE)]), "member-doubled", "run/front/x.jpg"),
    "tar empty": (tar_with(entry("run/front/x.jpg")), "not-an-image", "run/front/x.jpg"),
    "zip above": (zip_with("run/../../x.jpg"), "member-outside", "run/../../x.jpg"),
    "zip drive": (zip_with("C:/x.jpg"), "member-outside", "C:/x.jpg"),
    "zip backslashes": (zip_with("..\\x.jpg"), "member-outside", "x.jpg"),
    "zip control": (zip_with("run/front/\x1b[2J.jpg"), "member-unnamed", "run/front/\\x1b[2J.jpg"),
    "zip long": (zip_with("run/front/" + "9" * 5_000 + ".jpg"), "member-unnamed", "999.jpg"),
    "zip link": (zip_with("run/l.jpg", change=linked), "member-special", "run/l.jpg"),
    "zip encrypted": (zip_with("run/front/x.jpg", change=encrypted), "member-encrypted", "run/front/x.jpg"),
    "zip unknown": (zip_with("run/front/x.jpg", change=unknown), "compression-unknown", "run/front/x.jpg"),
    "zip doubled": (zip_with("run/front/x.jpg", times=2), "member-doubled", "run/front/x.jpg"),
    "zip bomb": (zip_with("run/front/x.jpg", bytes(30_000_000)), "archive-bomb", "run/front/x.jpg"),
    "zip too large": (zip_with("run/front/x.jpg", bytes(2_000_000) + HUGE), "frame-too-large", "run/front/x.jpg"),
    "zip in zip": (zip_with("run/more.zip", archive(images(1))), "log-in-archive", "run/more.zip"),
    "log beside images": (zip_with("run/a.mcap", mcap_log(drive(1))), "log-in-archive", "run/a.mcap"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason", "name"), DANGEROUS.values(), ids=DANGEROUS.keys())
def test_a_dangerous_file_is_refused_by_its_name_and_the_rest_goes_through(body: bytes, reason: str, name: str) -> None:
    reading = read_log(body, 3)
    assert reading.keys == read_log(archive(images(FRAMES))).keys
    details = refused(reading)
    assert list(details) == [reason]
    assert name in details[reason]
    assert reading.tally.refused


LONG = b'{"times": {"' + b"9" * 5_000 + b'.jpg": 1}}'


def test_a_folder_may_be_named_after_a_time_and_a_receipt_must_be_whole() -> None:
    folder = "2023-11-14T22:13:20"
    assert {frame.camera for frame in read_log(archive({f"{folder}/1.jpg": PICTURE})).frames} == {"2023-11-14T22_13_20"}
    for receipt in (
        b"[]",
        b'{"times": {"1.jpg": 1' + b"0" * 30 + b"}}",
        b'{"times": {"1.jpg": -1}}',
        LONG,
        b"[" * 100_000,
    ):
        with pytest.raises(LogRefused, match=r"\.autolabel-upload\.json is damaged"):
            read_log(archive({f"{folder}/1.jpg": PICTURE, f"{folder}/.autolabel-upload.json": receipt}))


@pytest.mark.parametrize("kind", ["zip", "zip-deflated"])
def test_a_file_with_a_wrong_crc_is_refused_alone(kind: str) -> None:
    body = archive(images(FRAMES), kind)
    info = zipfile.ZipFile(io.BytesIO(body)).infolist()[3]
    at = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    reading = read_log(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], 7)
    assert reading.keys == [key for n, key in enumerate(read_log(body).keys) if n != 3]
    assert reading.refused == {"chunk-unread": 1}
    (detail,) = refused(reading).values()
    assert info.filename in detail


def test_a_file_that_unpacks_to_more_than_it_states_is_refused_alone() -> None:
    body = archive(images(FRAMES), "zip-deflated")
    info = zipfile.ZipFile(io.BytesIO(body)).infolist()[3]
    at = body.rindex(info.filename.encode()) - 46 + 24
    reading = read_log(body[:at] + struct.pack("<I", 100) + body[at + 4 :])
    assert list(refused(reading)) == ["member-crc-wrong"]
    assert len(reading.frames) == 2 * FRAMES - 1


def test_files_that_share_bytes_are_refused_with_their_archive() -> None:
    body = archive(images(FRAMES))
    first, second, *_ = zipfile.ZipFile(io.BytesIO(body)).infolist()
    at = body.rindex(second.filename.encode()) - 46 + 42
    with pytest.raises(LogRefused, match="shares bytes"):
        read_log(body[:at] + struct.pack("<I", first.header_offset + 5) + body[at + 4 :])


def test_a_tar_cut_off_anywhere_gives_its_whole_files() -> None:
    body = archive(images(FRAMES), "tar")
    ends = [one.offset_data + one.size for one in tarfile.TarFile(fileobj=io.BytesIO(body))]
    for end in range(ends[0], ends[-1] + 512, 700):
        reading = read_log(body[:end])
        assert len(reading.frames) == sum(one <= end for one in ends)
        assert list(refused(reading)) in (["log-cut-off"], ["archive-damaged"])


def test_a_tar_with_a_damaged_head_gives_the_files_before_it() -> None:
    body = archive(images(FRAMES), "tar")
    at = tarfile.TarFile(fileobj=io.BytesIO(body)).getmembers()[5].offset
    reading = read_log(body[:at] + b"\xff" + body[at + 1 :])
    assert len(reading.frames) == 5
    assert reading.tally.refused


def test_a_damaged_or_cut_tar_gz_gives_the_files_before_the_damage() -> None:
    large = {f"front/{START + n}.jpg": jpeg(n, 400, 300) for n in range(40)}
    body = archive(large, "tar.gz")
    # The file in which the damage is is larger than what is read ahead.
    huge = archive({"front/1.jpg": PICTURE, f"front/{START}.jpg": Random(1).randbytes(3_000_000)}, "tar.gz")
    reading = read_log(huge[:-1_000_000])
    assert [frame.place.name for frame in reading.frames] == ["front/1.jpg"]
    assert list(refused(reading)) == ["log-cut-off"]
    for other in (body[: len(body) // 2], body[: len(body) // 2] + bytes(99) + body[len(body) // 2 + 99 :]):
        reading = read_log(other)
        assert 0 < len(reading.frames) < 40
        assert [frame.body for frame in reading.frames] == list(large.values())[: len(reading.frames)]
        assert reading.tally.refused
    # What is behind the end is ignored, and several streams are one, as gzip has it.
    assert len(read_log(body + bytes(700)).frames) == 40
    unpacked = gzip.decompress(body)
    assert len(read_log(gzip.compress(unpacked[:9_000]) + gzip.compress(unpacked[9_000:])).frames) == 40


@pytest.mark.parametrize("end", [30, 3_000, -30, -1])
def test_a_zip_without_its_directory_says_how_to_repair_it(end: int) -> None:
    with pytest.raises(LogRefused, match="zip -FF"):
        read_log(archive(images(FRAMES))[:end])


def test_a_gzip_file_that_unpacks_to_very_much_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as made:
        made.addfile(entry("run/front/1.jpg", ONE), io.BytesIO(PICTURE))
        made.addfile(entry("run/zeros.bin", 400_000_000), io.BytesIO(bytes(400_000_000)))
        made.addfile(entry("run/front/2.jpg", ONE), io.BytesIO(PICTURE))
    reading = read_log(content.getvalue())
    assert list(refused(reading)) == ["archive-bomb"]
    assert len(reading.frames) == 1
    monkeypatch.setattr(archive_files, "MAX_STREAM_BYTES", 1_000)
    with pytest.raises(LogRefused, match=r"use \.tar or \.zip"):
        read_log(content.getvalue())


LOGS = {"a.mcap": mcap_log(drive(FRAMES)), "a.bag": bag_log(drive(FRAMES)), "a.db3": sqlite_log(drive(FRAMES))}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize(("name", "log"), LOGS.items(), ids=LOGS.keys())
def test_a_log_in_an_archive_gives_its_frames(name: str, log: bytes, kind: str) -> None:
    # A name is not trusted.
    for stored in (name, "bag/data.bin"):
        body = archive({"bag/metadata.yaml": b"a: 1", stored: log}, kind)
        for slices in (1, 2, 7):
            reading = read_log(body, slices)
            assert reading.items == read_log(log, slices).items
            assert plan_slices(reading.index, [0, 1, 2], 1)[1:] == () or kind in ("zip", "tar", "tar-gnu")
            assert reading.index.others == 1
            assert not reading.tally.refused


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        (LOGS, "zip", "3 logs"),
        ({"a.zip": archive(images(1))}, "zip", "'a.zip' in it is an archive too"),
        ({"a.bin": archive(images(1), "tar")}, "tar", "'a.bin' in it is an archive too"),
        ({"a.txt": b"a", "empty": b""}, "zip", "neither images"),
        ({}, "zip", "neither images"),
        ({"../a.jpg": PICTURE}, "zip", "'../a.jpg' points out of the archive"),
    ],
)
def test_an_archive_without_images_or_one_log_says_what_is_in_it(files: dict[str, bytes], kind: str, said: str) -> None:
    with pytest.raises(LogRefused, match=said):
        read_log(archive(files, kind))


@pytest.mark.parametrize("kind", ["zip-deflated", "tar.gz"])
def test_a_compressed_log_that_is_damaged_gives_what_is_whole(kind: str) -> None:
    log = mcap_log(drive(40, noise=150_000), compression="", chunk_size=1)
    body = archive({"a.mcap": log}, kind)
    middle = len(body) // 2
    reading = read_log(body[:middle] + bytes(300_000) + body[middle + 300_000 :])
    whole = read_log(log)
    assert 10 < len(reading.frames) < len(whole.frames)
    assert reading.frames == whole.frames[: len(reading.frames)]
    assert "archive-damaged" in refused(reading)


def test_a_compressed_log_that_cannot_be_unpacked_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    body = archive({"a.bag": LOGS["a.bag"]}, "zip-deflated")

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_files.tempfile, "TemporaryFile", Full)
    with pytest.raises(LogRefused, match=r"No space left on device.*unpack it"):
        read_log(body)
    monkeypatch.setattr(archive_files, "MAX_STREAM_BYTES", 1_000)
    with pytest.raises(LogRefused, match=r"'a\.bag' has .* bytes and is compressed, .* unpack it"):
        read_log(body)


def test_a_gzip_file_of_something_else_is_refused_by_kind() -> None:
    with pytest.raises(LogRefused, match="gzip file of mcap: unpack it"):
        read_log(gzip.compress(LOGS["a.mcap"]))


class Failing(Counting):
    """A source that cannot be reached after some reads, as S3 for a moment."""

    def __init__(self, body: bytes, after: int) -> None:
        super().__init__(body)
        self.after = after

    def read(self, start: int, length: int) -> bytes:
        if len(self.reads) == self.after:
            raise OSError("503 Slow Down")
        return super().read(start, length)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_that_cannot_be_reached_is_not_called_damaged(kind: str) -> None:
    body = archive({name: picture * 20 for name, picture in images(FRAMES).items()}, kind)
    whole = Counting(body)
    inspect_log(whole, "log")
    for after in range(len(whole.reads)):
        with pytest.raises(OSError, match="503"):
            inspect_log(Failing(body, after), "log")


def test_a_file_that_is_longer_packed_than_unpacked_is_refused_alone() -> None:
    # Empty blocks of deflate, and then the picture.
    pack = zlib.compressobj(wbits=-15)
    packed = b"\0\0\0\xff\xff" * 1_000 + pack.compress(PICTURE) + pack.flush()
    name = b"run/front/1700000000000000999.jpg"
    target = io.BytesIO(archive(images(FRAMES)))
    with zipfile.ZipFile(target, "a") as made:
        start = made.start_dir
        info = zipfile.ZipInfo(name.decode())
        info.compress_type, info.header_offset = zipfile.ZIP_DEFLATED, start
        info.CRC, info.file_size, info.compress_size = zlib.crc32(PICTURE), len(PICTURE), len(packed)
        target.seek(start)
        target.write(info.FileHeader(zip64=False) + packed)
        made.start_dir = target.tell()
        made.filelist.append(info)
        made.NameToInfo[info.filename] = info
        made._didModify = True  # type: ignore[attr-defined]
    reading = read_log(target.getvalue())
    assert len(reading.frames) == 2 * FRAMES
    assert "999.jpg" in refused(reading)["archive-damaged"]


def test_a_bag_beside_messages_that_are_not_merged_is_refused() -> None:
    files = {"a.db3": sqlite_log(drive(2)), "a.db3-wal": b"x"}
    with pytest.raises(LogRefused, match=r"not merged into 'a\.db3'") as found:
        inspect_log(Counting(archive(files)), "log")
    assert found.value.reason == "log-without-wal"
