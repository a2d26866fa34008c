"""Documents can be read in several threads."""

from __future__ import annotations

import subprocess
import sys

# Each thread is among the first to decode the type, so that msgspec analyses it meanwhile.
FIRST_DECODES = """
import sys, threading
import msgspec
from autolabel.contracts.drive import Camera, DriveDocument, Run

sys.setswitchinterval(1e-5)
run = Run("drive-1", "0001", DriveDocument("v", {"front": Camera()}), "e", ("m.0001",), "2026.1", ("car",))
body, ready, decoded = msgspec.json.encode(run), threading.Barrier(16), []


def decode():
    ready.wait()
    decoded.append(msgspec.json.decode(body, type=Run))


threads = [threading.Thread(target=decode) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert decoded == [run] * 16
"""


def test_many_threads_decode_a_type_for_the_first_time() -> None:
    # msgspec 0.22 crashed in five of six such processes, so three tries find it nearly always.
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", FIRST_DECODES], capture_output=True, text=True)
        assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stderr}"
