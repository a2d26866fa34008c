"""Trial of a model: sends one image to its endpoint and reads the answer as boxes."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from PIL import ImageDraw, ImageFont

from autolabel.aws import S3Bucket
from autolabel.contracts.errors import AnswerRefused
from autolabel.contracts.units import TRIAL
from autolabel.labelling import decode_answer
from autolabel.labels import Detection, ImageHeader, as_rgb, current_taxonomy, open_pixels, read_header
from autolabel.models import DECODER_NAMES, DecoderOptions, Model
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

# No drive's name begins with an underscore, so this is never the folder of a drive.
FOLDER = "_trials"
_FIRST_POLL, _LAST_POLL = 0.2, 5.0
_MAX_REASON = 500


class Trial(msgspec.Struct, frozen=True):
    """Answer of a model to one image.

    `detections`: those at or above the thresholds. `doubtful`: number of those below. `refused`: why the decoder cannot
    read the answer; then `fitting` has the decoders that can, with the number of objects that each finds.
    """

    model: Model
    header: ImageHeader
    seconds: float
    size: int
    detections: tuple[Detection, ...] = ()
    doubtful: int = 0
    dropped: dict[str, int] = {}
    refused: str = ""
    fitting: dict[str, int] = {}


def try_model(stack: Stack, model: Model, image: Path, *, patience: float, tell: Callable[[str], None]) -> Trial:
    """Send an image to a model's endpoint and read the answer, waiting at most `patience` seconds.

    CommandError when the image cannot be a frame, when the endpoint fails, and when no answer comes in time.
    """
    try:
        body = image.read_bytes()
    except OSError as e:
        raise CommandError(f"{image} cannot be read: {e.strerror}") from e
    header = read_header(lambda start, count: body[start : start + count], str(image))
    began = time.monotonic()
    answer = _ask(stack, model, body, header.format, patience, tell)
    trial = Trial(model, header, round(time.monotonic() - began, 2), len(answer))
    try:
        found, dropped, _ = decode_answer([answer], model, header.width, header.height)
    except AnswerRefused as e:
        return msgspec.structs.replace(trial, refused=str(e), fitting=_fitting(answer, model, header))
    kept = [d for d in found if d.confidence >= model.threshold_of(d.name)]
    kept.sort(key=lambda d: -d.confidence)
    return msgspec.structs.replace(
        trial, detections=tuple(kept), doubtful=len(found) - len(kept), dropped=dict(Counter(dropped).most_common())
    )


def draw(image: Path, detections: Sequence[Detection], out: Path) -> None:
    """Write the image with its boxes as PNG. CommandError when it cannot be written."""
    colors = current_taxonomy().colors
    with open_pixels(image.read_bytes(), str(image)) as opened:
        picture = as_rgb(opened)
    pen = ImageDraw.Draw(picture)
    size = max(12, picture.height // 50)
    font = ImageFont.load_default(size)
    for detection in reversed(detections):
        left, top, right, bottom = detection.box
        # What views cover has no colour in the taxonomy.
        color = colors.get(detection.name, "#d81b60")
        pen.rectangle((left, top, right, bottom), outline=color, width=max(2, picture.height // 300))
        said = f"{detection.name} {detection.confidence:.2f}"
        area = pen.textbbox((left, max(0.0, top - 1.3 * size)), said, font=font)
        pen.rectangle(area, fill=color)
        pen.text(area[:2], said, fill="white", font=font)
    written = BytesIO()
    picture.save(written, "PNG")
    try:
        out.write_bytes(written.getvalue())
    except OSError as e:
        raise CommandError(f"{out} cannot be written: {e.strerror}; give another path with --to") from e


def _ask(stack: Stack, model: Model, body: bytes, kind: str, patience: float, tell: Callable[[str], None]) -> bytes:
    """Return the body of the answer. Everything that the trial wrote to the label bucket is deleted."""
    token = secrets.token_hex(8)
    # The endpoints' role may read here, and objects here cause no event of the pipeline.
    key = f"models/{FOLDER}/{token}.{kind}"
    written = [(stack.labels.name, key)]
    s3 = stack.client("s3")
    stack.labels.write(key, body, f"image/{kind}")
    try:
        asked = stack.client("sagemaker-runtime").invoke_endpoint_async(
            EndpointName=model.endpoint,
            InputLocation=stack.labels.uri(key),
            # The function collect skips such ids.
            InferenceId=f"{TRIAL}{token}",
            S3OutputPathExtension=f"{FOLDER}/{model.id}",
            Filename=f"{token}.out",
            ContentType=model.content_type,
            Accept=model.accept,
            RequestTTLSeconds=model.queue_ttl,
            InvocationTimeoutSeconds=model.invocation_timeout,
        )
        written += [_split(asked[name]) for name in ("OutputLocation", "FailureLocation") if name in asked]
        tell(f"waiting for {model.endpoint}; an endpoint with zero instances takes minutes to wake")
        return _await(s3, asked, model, patience)
    finally:
        for bucket, place in written:
            s3.delete_object(Bucket=bucket, Key=place)


def _await(s3: Any, asked: dict[str, Any], model: Model, patience: float) -> bytes:
    pause, deadline = _FIRST_POLL, time.monotonic() + patience
    while True:
        answer = _read(s3, asked["OutputLocation"])
        if answer is not None:
            return answer
        failure = _read(s3, asked["FailureLocation"]) if "FailureLocation" in asked else None
        if failure is not None:
            reason = " ".join(failure.decode(errors="replace")[:_MAX_REASON].split())
            raise CommandError(f"{model.id} failed on the image: {reason}; see the log of endpoint {model.endpoint}")
        if time.monotonic() > deadline:
            raise CommandError(
                f"endpoint {model.endpoint} did not answer within {patience:g} s: "
                "try again with a longer --wait, or see its log and alarms"
            )
        # An asynchronous endpoint notifies only its topics, which belong to the pipeline.
        time.sleep(pause)
        pause = min(1.5 * pause, _LAST_POLL)


def _read(s3: Any, location: str) -> bytes | None:
    bucket, key = _split(location)
    return S3Bucket(s3, bucket).read(key)


def _fitting(answer: bytes, model: Model, header: ImageHeader) -> dict[str, int]:
    """Find the other decoders that can read an answer without options, and count the objects that each finds."""
    fitting = {}
    for name in sorted(DECODER_NAMES - {model.decoder}):
        options = DecoderOptions()
        if options.wrong(name):
            continue
        try:
            other = msgspec.structs.replace(model, decoder=name, options=options)
            found, dropped, _ = decode_answer([answer], other, header.width, header.height)
        except AnswerRefused:
            continue
        fitting[name] = len(found) + dropped.total()
    return dict(sorted(fitting.items(), key=lambda item: -item[1]))


def _split(location: str) -> tuple[str, str]:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key
