"""One process at a time uses the folder of a demo or a cloud."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.demo.folder_lock import AlreadyRunning, lock_folder

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from tools.demo.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1]), "make demo"):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_which_one_runs(tmp_path: Path) -> None:
    folder = tmp_path / "build" / "demo"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(AlreadyRunning) as refused, lock_folder(folder, "make demo"):
            pass
        other.kill()
    assert f"make demo already runs in this checkout, as process {other.pid}," in str(refused.value)
    assert f"`kill {other.pid}`" in str(refused.value)
    # A killed process leaves its file, but no lock.
    with lock_folder(folder, "make demo"):
        assert (tmp_path / "build" / "demo.lock").read_text() == str(os.getpid())


def test_another_folder_is_free(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "demo", "make demo"), lock_folder(tmp_path / "cloud", "make cloud"):
        pass
