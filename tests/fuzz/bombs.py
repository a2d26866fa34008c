"""Bombs: small or endless inputs that cost much. Each runs in a process of its own with limits of memory and time.

`python -m tests.fuzz.bombs NAME` prints the reason of the refusal, or a count of what was read.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import itertools
import random
import resource
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import lz4.frame
import msgspec
import numpy as np
import zstandard
from PIL import Image

from autolabel.contracts.drive import MAX_MODELS, parse_drive_document
from autolabel.contracts.errors import Refused
from autolabel.inference.submission import read_message
from autolabel.labelling.decoding import decode_answer
from autolabel.labelling.fusion import merge_frame
from autolabel.labelling.masks import encode
from autolabel.labelling.model_detections import ModelDetections
from autolabel.labelling.riders import name_riders
from autolabel.labelling.segmentation_map import polygons
from autolabel.labels.detections import Detection
from autolabel.labels.failed_frames import FrameCheck
from autolabel.labels.image_header import read_header
from autolabel.logs import UnreadRange, inspect_log, plan_slices, read_messages
from autolabel.models.catalogue import Model
from autolabel.models.decoders import DecoderOptions
from autolabel.models.decoders.base import MAX_OBJECTS
from tests.fakes.answers import DETECTOR, answer
from tests.fakes.counting import Counting
from tests.fakes.images import png_chunk, png_header, saved, segments
from tests.fuzz.pictures import pictures_of

CHUNK = 256 * 1024
MEGABYTE = 1_000_000


def streamed(before: bytes, filling: bytes, megabytes: int, behind: bytes) -> Iterator[bytes]:
    """A body of about `megabytes` in chunks; it is never in memory as a whole."""
    yield before
    chunk = filling * (CHUNK // len(filling))
    for _ in range(megabytes * MEGABYTE // len(chunk)):
        yield chunk
    yield behind


GOOD = answer()[1:]


def read(chunks: Iterator[bytes]) -> str:
    found = decode_answer(chunks, DETECTOR, 640, 480)[0]
    return f"{len(found)} boxes"


def long_string() -> str:
    return read(streamed(b'{"mask":"', b"QUJD", 300, b'",' + GOOD))


def escaped_string() -> str:
    return read(streamed(b'{"mask":"', b'\\"\\\\', 100, b'",' + GOOD))


def segment(decoder: str, chunks: Iterator[bytes], *, masks: bool, side: int = 480, **options: object) -> str:
    """Decode an answer, with or without its masks; returns counts."""
    wanted = msgspec.convert({"masks": masks, **options}, DecoderOptions)
    model = msgspec.structs.replace(DETECTOR, decoder=decoder, options=wanted)
    found = decode_answer(chunks, model, side, side)[0]
    return f"{len(found)} boxes, {sum(bool(one.mask) for one in found)} masks"


THING = b'{"score":0.9,"label":"car","box":{"xmin":0,"ymin":0,"xmax":9,"ymax":9},"mask":'


def long_pictures() -> str:
    """300 MB of masks as pictures in a list, when masks are not wanted."""
    one = THING + b'"' + b"QUJD" * 750_000 + b'"}'
    chunks = itertools.chain([b"["], *([one, b","] for _ in range(99)), [one, b"]"])
    return segment("hf-object-detection", chunks, masks=False)


def long_list() -> str:
    return segment("hf-object-detection", streamed(b"[{}", b",{}", 100, b"]"), masks=False)


def one_long_mask() -> str:
    return segment("hf-object-detection", streamed(b"[" + THING + b"[[0", b",0", 100, b"]]}]"), masks=True)


def long_row() -> str:
    """A mask with as many bytes as are allowed, which are more pixels than are allowed."""
    return segment("hf-object-detection", streamed(b"[" + THING + b"[[0", b",0", 60, b"]]}]"), masks=True)


def deep_wanted_mask() -> str:
    return segment("hf-object-detection", streamed(b"[" + THING, b"[", 60, b"]"), masks=True)


def short_rows() -> str:
    return segment("hf-object-detection", streamed(b"[" + THING + b"[[0]", b",[0]", 30, b"]}]"), masks=True)


def soft_mask() -> str:
    return segment("hf-object-detection", streamed(b"[" + THING + b"[[0.123456", b",0.123456", 60, b"]]}]"), masks=True)


def many_masks() -> str:
    body = b'{"masks":[[[1]]' + b",[[1]]" * 3_000 + b"]}"
    return segment("jumpstart-mask-rcnn", iter([body]), masks=True)


def noisy_masks() -> str:
    """Masks of noise, whose encodings are as large as the masks."""
    rows = b",".join(b"[" + b",".join(random.Random(i).choices([b"0", b"1"], k=1_000)) + b"]" for i in range(1_000))
    chunks = itertools.chain([b'{"masks":[['], *([rows, b"],["] for _ in range(200)), [rows, b"]]}"])
    return segment("jumpstart-mask-rcnn", chunks, masks=True)


def picture_of_many_pixels() -> str:
    """A mask whose PNG header says 25 megapixels."""
    mask = b'"' + base64.b64encode(png_header(5_000, 5_000)) + b'"'
    return segment("hf-object-detection", iter([b"[" + THING + mask + b"}]"]), masks=True)


def masks_of_the_largest_frame() -> str:
    """The largest number of masks, on the largest frame for them."""
    box = {"xmin": 0, "ymin": 0, "xmax": 4_000, "ymax": 4_000}
    thing = {"score": 0.9, "label": "car", "box": box, "mask": [[1] * 28] * 28}
    body = msgspec.json.encode([thing] * 20)
    return segment("hf-object-detection", iter([body]), masks=True, side=4_000)


def noise_outlined() -> str:
    """A mask like a chessboard with half a million black fields."""
    mask = encode((np.indices((1_000, 1_000)).sum(0) % 2).astype(np.uint8))
    return f"{len(polygons(mask.decode(), 1_000, 1_000))} outlines"


def found(name: str, count: int, model: Model) -> list[Detection]:
    """`count` objects of a class, all around one place."""
    boxes = ((x := at % 60, 0.0, x + 100.0, 100.0) for at in range(count))
    return [Detection(name, box, 0.5, 0.5, name, (model.id,)) for box in boxes]


def boxes_of_several_models() -> str:
    models = [msgspec.structs.replace(DETECTOR, name=f"m{index}") for index in range(MAX_MODELS)]
    seen = [ModelDetections(model, found("car", MAX_OBJECTS, model)) for model in models]
    merged, dropped = merge_frame(seen, "front", 640, 480)
    return f"{sum(len(one.votes) for one in merged)} votes, {dropped.total()} dropped"


def crowd_on_bicycles() -> str:
    crowd = found("person", MAX_OBJECTS // 2, DETECTOR) + found("bicycle", MAX_OBJECTS // 2, DETECTOR)
    return f"{sum(one.name == 'rider' for one in name_riders(crowd))} riders"


def outline_round_the_world() -> str:
    outline = {"x": [-1e300, 1e300] * 5_000, "y": [1e300, -1e300] * 5_000}
    body = THING.replace(b'"mask":', b'"segments":').replace(b"score", b"confidence").replace(b"label", b"name")
    for name, other in ((b"xmin", b"x1"), (b"ymin", b"y1"), (b"xmax", b"x2"), (b"ymax", b"y2")):
        body = body.replace(name, other)
    return segment("yolo", iter([b"[" + body + msgspec.json.encode(outline) + b"}]"]), masks=True)


def large_mapped_answer() -> str:
    """A large answer with a mapping that needs only one key."""
    mapping = {"items": "things", "label": "label", "score": "score", "box": "box"}
    one = b'{"label":"car","score":1,"box":[0,0,9,9]}'
    ballast = streamed(b'{"more":"', b"QUJD", 100, b'","things":[' + one + b"]}")
    return segment("jmespath", ballast, masks=False, mapping=mapping)


def long_mask() -> str:
    return read(streamed(b'{"masks":[0', b",0", 300, b"]," + GOOD))


def deep_mask() -> str:
    """Lists 128,000 brackets deep, again and again."""
    brackets = b"[" * 128_000 + b"]" * 128_000
    return read(streamed(b'{"masks":[[]', b"," + brackets, 30, b"]," + GOOD))


def quoted_brackets() -> str:
    """Brackets that have to be read one by one, because each chunk ends with quotes."""
    return read(streamed(b'{"masks":[""', b"," + b"[]," * 80_000 + b'""', 5, b"]," + GOOD))


def closing_brackets() -> str:
    return read(streamed(b'{"masks":[[]', b",[]" * 40_000 + b"]" * 50_000, 3, b""))


def white_space() -> str:
    return read(streamed(b"{", b" ", 300, GOOD))


def many_keys() -> str:
    return read(streamed(b'{"b":0', b',"a":1', 300, b"," + GOOD))


def long_key() -> str:
    return read(streamed(b'{"', b"k", 300, b'":0,' + GOOD))


def endless() -> str:
    return read(streamed(b'{"masks":', b"[", 300, b""))


def long_number() -> str:
    return read(streamed(b'{"scores":', b"9", 100, b"}"))


def long_label() -> str:
    return read(streamed(b'{"labels":["', b"x", 100, b'"],"scores":[],"classes":[],"normalized_boxes":[]}'))


def boxes(count: int) -> bytes:
    parts = ((b"normalized_boxes", b"[0,0,1,1]"), (b"classes", b"2"), (b"scores", b"1"))
    lists = (b'"' + name + b'":[' + b",".join([one] * count) + b"]" for name, one in parts)
    return b"{" + b",".join(lists) + b',"labels":["a","b","car"]}'


def million_boxes() -> str:
    body = boxes(1_100_000)
    return read(body[at : at + CHUNK] for at in range(0, len(body), CHUNK))


def small_answer_of_boxes() -> str:
    """As many boxes as fit into an answer that is parsed whole."""
    return read(iter([boxes(70_000)]))


def deep_document() -> str:
    return str(parse_drive_document(b'{"vehicle":' + b"[" * 240_000, "k"))


def keys_of_a_document() -> str:
    keys = b",".join(b'"%d":0' % i for i in range(25_000))
    return str(parse_drive_document(b'{"vehicle":"v","cameras":{"f":{"intrinsics":{' + keys + b"}}},1", "k"))


def large_document() -> str:
    return str(parse_drive_document(b" " * 100 * MEGABYTE, "k"))


def records() -> str:
    record = '{"eventName":"ObjectCreated:","s3":{"bucket":{"name":""},"object":{"key":"","eTag":"e","size":0}}}'
    return str(len(list(read_message('{"Records":[' + ",".join([record] * 11_000) + "]}"))))


def deep_message() -> str:
    return str(list(read_message('{"Records":' + "[" * 1_048_000)))


def header(body: bytes) -> str:
    return str(read_header(lambda start, count: body[start : start + count], "k")[1:3])


def compressed_texts() -> str:
    """Half a megabyte of PNG texts that unpack to half a gigabyte."""
    text = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(MEGABYTE), 9))
    good = png_header(10, 10)
    return header(good[:33] + text * 490 + good[33:])


def compressed_profile() -> str:
    profile = png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(100 * MEGABYTE), 9))
    good = png_header(10, 10)
    return header(good[:33] + profile + good[33:])


def compressed_orientations() -> str:
    """Texts that unpack to 100 MB each, where an orientation may be."""
    text = png_chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(100 * MEGABYTE), 9))
    good = png_header(10, 10)
    return header(good[:33] + text * 5 + good[33:])


def endless_metadata() -> str:
    """A JPEG that goes on with further segments at each read."""
    segment = segments(0xE1, bytes(65_533))

    def read(start: int, count: int) -> bytes:
        body = segment * (count // len(segment) + 2)
        at = (start - 3) % len(segment)
        return b"\xff\xd8\xff" + body[1 : count - 2] if start == 0 else body[at : at + count]

    return str(read_header(read, "k"))


def many_segments() -> str:
    return header(b"\xff\xd8" + segments(0xFE, b"x") * 8_000_000)


def junk_between_segments() -> str:
    return header(b"\xff\xd8\xff\0" + b"\xff\0" * 20_000_000)


def failed(body: bytes) -> str:
    """Look at a frame that a model failed."""
    refused = FrameCheck().refusal(lambda start, count: body[start : start + count], "k")
    return refused.reason if refused else "counts as whole"


def failed_scans() -> str:
    return failed(scans(10_000))


def largest_failed_png() -> str:
    return failed(large_png())


def drawn(body: bytes) -> str:
    return "drawn" if pictures_of(body) else "left out"


def largest_png() -> str:
    return drawn(large_png())


def large_png() -> bytes:
    """A PNG of a few megabytes with 100 megapixels of 64 bits."""
    width = height = 10_000
    packed = zlib.compressobj(1)
    rows = b"".join(packed.compress(bytes(8 * width + 1)) for _ in range(height)) + packed.flush()
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def scans(count: int) -> bytes:
    """A progressive JPEG of 98 megapixels, with `count` repetitions of its last scan."""
    body = saved(Image.new("L", (9_900, 9_900)), "JPEG", progressive=True)
    last = body[body.rfind(b"\xff\xc4") : body.rfind(b"\xff\xd9")]
    return body[:-2] + last * count + body[-2:]


def repeated_scans() -> str:
    return drawn(scans(10_000))


def scans_of_a_camera() -> str:
    return drawn(scans(0))


def log_bomb(compression: str, packer: Callable[[], Any], stated: int, megabytes: int) -> str:
    """Read an MCAP log with a chunk that holds more than it states, or more than is allowed."""
    packing = packer()
    parts = [packing.begin()] if compression == "lz4" else []
    parts += [packing.compress(bytes(MEGABYTE)) for _ in range(megabytes)]
    data = b"".join([*parts, packing.flush()])
    name = compression.encode()
    content = struct.pack("<QQQII", 0, 0, stated, 0, len(name)) + name + struct.pack("<Q", len(data)) + data
    source = Counting(b"\x89MCAP0\r\n" + struct.pack("<BQ", 6, len(content)) + content)
    index = inspect_log(source, "log")
    (found,) = read_messages(source, index.container, plan_slices(index, [1], 1)[0], [1])
    assert isinstance(found, UnreadRange)
    return found.reason


def log_of_zstd() -> str:
    return log_bomb("zstd", lambda: zstandard.ZstdCompressor().compressobj(), 1_000, 1_000)


def log_of_lz4() -> str:
    return log_bomb("lz4", lz4.frame.LZ4FrameCompressor, 1_000, 1_000)


def log_of_bz2() -> str:
    return log_bomb("bz2", bz2.BZ2Compressor, 1_000, 100)


def log_of_a_gigabyte() -> str:
    return log_bomb("zstd", lambda: zstandard.ZstdCompressor().compressobj(), 1_000_000_000, 1_000)


def zeros(megabytes: int, wbits: int) -> bytes:
    packing = zlib.compressobj(wbits=wbits)
    return b"".join([*(packing.compress(bytes(MEGABYTE)) for _ in range(megabytes)), packing.flush()])


def zip_that_lies() -> str:
    """An image in a zip that unpacks to a gigabyte, while its directory states 20 MB."""
    data, name, stated = zeros(1_000, -15), b"front/1.jpg", 20_000_000
    head = struct.pack("<5H3L2H", 20, 0, 8, 0, 33, 0, len(data), stated, len(name), 0)
    directory = b"PK\1\2" + struct.pack("<H", 20) + head + struct.pack("<3H2L", 0, 0, 0, 0, 0) + name
    start = 30 + len(name) + len(data)
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, len(directory), start, 0)
    source = Counting(b"PK\3\4" + head + name + data + directory + end)
    index = inspect_log(source, "log")
    (found,) = read_messages(source, index.container, plan_slices(index, [0], 1)[0], [0])
    assert isinstance(found, UnreadRange)
    return found.reason


def tar_gz_of_zeros() -> str:
    files = tarfile.TarInfo("run.bin")
    files.size = 10**10
    return str(inspect_log(Counting(gzip.compress(files.tobuf()) + zeros(1_000, 31)), "log"))


def tar_with_a_long_head() -> str:
    head = tarfile.TarInfo("long")
    head.type, head.size = tarfile.XHDTYPE, 100 * MEGABYTE
    return str(inspect_log(Counting(head.tobuf() + b"9" * (100 * MEGABYTE)), "log"))


def set_off(bomb: Callable[[], str]) -> str:
    try:
        return bomb()
    except Refused as e:
        return e.reason


if __name__ == "__main__":
    said = set_off(globals()[sys.argv[1]])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(said, f"{usage.ru_maxrss // 1024} MiB", f"{usage.ru_utime + usage.ru_stime:.1f} s", sep="\t")
