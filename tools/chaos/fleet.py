"""The fleet of a plan: uploads its frames, and remembers those that the pipeline must not lose."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.pipeline import image
from tools.chaos.plans import CAMERAS, DrivePlan
from tools.chaos.stage import MODELS, Stage

# The width of a frame of each kind; it tells the model how to answer (tests/e2e/choosy_model.py).
_WIDTHS = {"good": 640, "second-object": 640, "overwritten": 640, "unknown-camera": 640}
_WIDTHS |= {"unreadable": 641, "cut-off": 642, "model-error": 643}


class Upload:
    """Uploads one drive. `promised`: keys put before the drive was closed, without drive.json."""

    def __init__(self, stage: Stage, drive: str, plan: DrivePlan) -> None:
        self.drive = drive
        self.promised: set[str] = set()
        self._stage = stage
        self._plan = plan
        self._s3 = stage.client("s3")

    def run(self) -> None:
        """Upload everything and close the drive."""
        plan = self._plan
        if plan.closing == "first":
            self.close()
        if plan.closing == "refused":
            self._put("drive.json", b'{"vehicle": 7}')
        for name, kind in plan.frames:
            self._frame(name, kind)
            # The pace of the upload is part of the plan.
            time.sleep(plan.pause)
        if plan.closing == "first":
            self.promised.clear()
        elif plan.closing != "never":
            self.close()
        for name, kind in plan.late:
            self._frame(name, kind, promised=False)
        if plan.closing == "twice":
            self.close()
        if plan.closing == "changed":
            self._put("drive.json", json.dumps({"vehicle": "other", "cameras": {"front": {}}}).encode())

    def close(self) -> None:
        """Close the drive by uploading drive.json."""
        cameras: dict[str, dict[str, str]] = {camera: {} for camera in CAMERAS}
        document: dict[str, Any] = {"vehicle": "chaos", "cameras": cameras, "models": MODELS[: self._plan.models]}
        policy: dict[str, Any] = {"policy": "all"}
        if self._plan.audits:
            segment = 2 if self._plan.tracks else 1
            policy = {"policy": "doubtful", "segment": segment, "audit": 0.5, "max_doubt": 0.9}
        if self._plan.tracks:
            policy["task"] = "tracks"
        document["verification"] = policy | ({"vigilance": True} if self._plan.vigilance else {})
        self._put("drive.json", json.dumps(document).encode())

    def _frame(self, name: str, kind: str, *, promised: bool = True) -> None:
        camera, timestamp = name.split("/")
        keys = [f"{'side' if kind == 'unknown-camera' else camera}/{timestamp}.png"]
        if kind == "second-object":
            keys.append(f"{camera}/{timestamp}.jpg")
        if kind == "svg":
            keys = [f"{camera}/{timestamp}.svg"]
        for key in keys:
            put = self._put(key, _body(kind, key, timestamp))
            if promised:
                self.promised.add(put)
        if kind == "overwritten":
            self._put(keys[0], _body(kind, keys[0], timestamp, height=202))

    def _put(self, name: str, body: bytes) -> str:
        key = f"drives/{self.drive}/{name}"
        self._s3.put_object(Bucket=self._stage.stack.ingest.name, Key=key, Body=body)
        return key


def _body(kind: str, key: str, timestamp: str, height: int = 201) -> bytes:
    if kind == "empty":
        return b""
    if kind in ("garbage", "svg"):
        return b"not an image"
    return image(_WIDTHS[kind], height, "JPEG" if key.endswith(".jpg") else "PNG") + timestamp.encode()
