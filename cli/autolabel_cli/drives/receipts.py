"""Receipts of uploads: what is kept beside a source, so that a later upload of it does nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from autolabel.logs import RECEIPT
from autolabel_cli.errors import CommandError


class UploadedFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that was uploaded whole. `modified`: ns since the epoch; `etag`: of its object; `md5`: of a document."""

    size: int
    modified: int
    etag: str
    md5: str = ""


class Receipt(msgspec.Struct, omit_defaults=True):
    """The receipt in a folder. `times`: of its images by name, in ns; `uploads`: by the S3 URI of the object."""

    times: dict[str, int] = {}
    uploads: dict[str, UploadedFile] = {}


def read_receipt(folder: Path) -> Receipt:
    """Read the receipt of a folder; an empty one if it has none. CommandError for one that cannot be read."""
    path = folder / RECEIPT
    try:
        # Not msgspec, which refuses names that are not UTF-8.
        return msgspec.convert(json.loads(path.read_bytes()), Receipt)
    except FileNotFoundError:
        return Receipt()
    except (OSError, ValueError, msgspec.ValidationError) as e:
        raise CommandError(
            f"{path}, which keeps what was uploaded and the times of the folder's frames, cannot be read: {e}; restore "
            "it, or delete it: frames then get new times, and are other frames than those of earlier uploads"
        ) from e


def write_receipt(folder: Path, receipt: Receipt) -> bool:
    """Write the receipt of a folder; False if the folder cannot be written."""
    beside = folder / f"{RECEIPT}.new"
    try:
        beside.write_text(json.dumps(msgspec.to_builtins(receipt)))
        beside.replace(folder / RECEIPT)
    except OSError:
        return False
    return True
