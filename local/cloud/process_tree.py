"""End a session of processes, so that no child outlives the cloud that started it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil


def session_members(session: int) -> Iterator[psutil.Process]:
    """Yield the live processes of a session except this one; the kernel keeps the session of orphans."""
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and os.getsid(process.pid) == session
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                yield process
        except (ProcessLookupError, psutil.Error):
            continue


def kill_session(session: int, *, within: float = 5.0) -> list[int]:
    """Send SIGKILL to every member of a session until none is left; return the ids that survived `within` seconds.

    Repeats, because a member may fork between the listing and the kill.
    """
    deadline = time.monotonic() + within
    while True:
        members = list(session_members(session))
        if not members or time.monotonic() > deadline:
            return [member.pid for member in members]
        for member in members:
            try:
                member.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(members, timeout=0.2)
