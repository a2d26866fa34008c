"""Runs a real Label Studio on 127.0.0.1, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / ".venv-label-studio" / "bin" / "label-studio"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
_BOOT_SECONDS = 180


class LabelStudioServer:
    """One server with a database in `folder`, empty at first; it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers; RuntimeError with the end of its log when it does not."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_USERNAME": "people@example.com",
            "LABEL_STUDIO_PASSWORD": "a password",
            "LABEL_STUDIO_USER_TOKEN": TOKEN,
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._folder),
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            # Allows webhooks and S3 endpoints on this machine.
            "SSRF_PROTECTION_ENABLED": "false",
        }
        log = self._folder / "label-studio.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM, "start", "--no-browser", "--port", str(self.port), "--internal-host", "127.0.0.1"],
                env=environment,
                cwd=self._folder,
                stdout=output,
                stderr=output,
                # It forks, and all its processes are stopped together.
                start_new_session=True,
            )
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                # It does not announce that it is ready.
                time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"Label Studio did not start: {log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        if self._process is not None:
            # It may have ended by itself.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
