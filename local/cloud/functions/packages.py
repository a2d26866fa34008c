"""Deployment packages and layers, each unpacked once."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path


class PackageStore:
    """Folders of unpacked zip archives, addressed by the archives' bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def unpack(self, archive: bytes) -> Path:
        """Return the folder with the archive's files, which is complete as soon as it exists."""
        target = self._folder / hashlib.sha256(archive).hexdigest()[:32]
        with self._lock:
            if target.exists():
                return target
            partial = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                with zipfile.ZipFile(io.BytesIO(archive)) as files:
                    files.extractall(partial)
                    for member in files.infolist():
                        mode = member.external_attr >> 16
                        if mode & 0o111:
                            (partial / member.filename).chmod(0o755)
                os.rename(partial, target)  # noqa: PTH104 - a rename makes the complete folder appear at once
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        return target
