"""The list of commands as a whole."""

from __future__ import annotations

import os
import subprocess
import sys

from click.testing import CliRunner

from autolabel_cli import __version__
from autolabel_cli.__main__ import main

# They take tenths of a second to import, and few commands need any of them.
SLOW_LIBRARIES = {"numpy", "pycocotools", "cv2", "jinja2", "contourpy"}


def test_the_list_of_commands_loads_no_slow_library() -> None:
    script = "import sys, autolabel_cli.__main__; print(*{name.partition('.')[0] for name in sys.modules})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert SLOW_LIBRARIES.isdisjoint(ended.stdout.split())


def test_the_command_tells_its_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"autolabel {__version__}\n"
