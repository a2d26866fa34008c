"""Archives of files, written by the standard library; and KITTI's, Ford's and others' ways to name images."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

from tests.fakes.logs import START, STEP, jpeg

# When all files were changed, in seconds.
CHANGED = 1_700_000_000
ARCHIVES = ("zip", "zip-deflated", "tar", "tar-gnu", "tar.gz")


def images(frames: int = 6, cameras: tuple[str, ...] = ("front", "rear")) -> dict[str, bytes]:
    """Images of cameras in folders, with times as names."""
    return {
        f"run/{camera}/{START + number * STEP}.jpg": jpeg(number + 50 * at)
        for at, camera in enumerate(cameras)
        for number in range(frames)
    }


def archive(files: Mapping[str, bytes], kind: str = "zip") -> bytes:
    """Write an archive; `kind`: one of ARCHIVES."""
    target = io.BytesIO()
    if kind.startswith("zip"):
        method = zipfile.ZIP_DEFLATED if kind == "zip-deflated" else zipfile.ZIP_STORED
        with zipfile.ZipFile(target, "w", method) as made:
            for name, body in files.items():
                made.writestr(zipfile.ZipInfo(name, (2023, 11, 14, 22, 13, 20)), body, method)
        return target.getvalue()
    mode = "w:gz" if kind == "tar.gz" else "w"
    form = tarfile.GNU_FORMAT if kind == "tar-gnu" else tarfile.PAX_FORMAT
    with tarfile.open(fileobj=target, mode=mode, format=form) as made:  # type: ignore[call-overload]
        for name, body in files.items():
            made.addfile(entry(name, len(body)), io.BytesIO(body))
    return target.getvalue()


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Make the head of a file in a tar archive."""
    made = tarfile.TarInfo(name)
    made.size, made.mtime, made.type, made.linkname = size, CHANGED, kind, link
    return made
