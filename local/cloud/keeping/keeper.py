"""The state of a cloud in its folder: what the next cloud begins with, and when it goes on."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from local.cloud.gateway_paths import RESUME, serve_path
from local.cloud.keeping.objects import KeptBuckets, check_objects
from local.cloud.keeping.queues import KeptQueues
from local.cloud.keeping.stacks import KeptStacks
from local.cloud.keeping.tables import KeptTables
from local.cloud.stepfunctions.kept_executions import KeptExecutions
from local.records import KeptRecords
from local.sagemaker.ground_truth.labeling_jobs import LabelingJobs

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.2


class Keeper:
    """Keeps a cloud's state below `folder`, from which it also restores it; raises UnreadableState.

    Objects, items and stacks are there before `resume`. Messages, labelling jobs and executions go on with it, since
    they need functions, roles and endpoints. Outcomes of work are not kept once `ending` is set.
    """

    def __init__(self, folder: Path, ending: threading.Event) -> None:
        self.records = KeptRecords(folder, ending)
        check_objects(folder / "objects")
        self._buckets = KeptBuckets()
        self._tables = KeptTables(self.records)
        self._queues = KeptQueues(self.records)
        self._stacks = KeptStacks(self.records)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, name="keeper", daemon=True)

    def install(self) -> None:
        """Patch ministack, and restore what needs nothing else."""
        self._buckets.install()
        self._tables.install()
        self._stacks.restore()

    def serve(self, jobs: LabelingJobs, executions: KeptExecutions) -> None:
        """Resume when a client of the gateway asks for it."""
        serve_path(RESUME, lambda method, body: self.resume(jobs, executions))

    def resume(self, jobs: LabelingJobs, executions: KeptExecutions) -> dict[str, list[str]]:
        """Let everything go on, once; return the names of the labelling jobs and executions that were open."""
        with self._lock:
            if self._tables.live:
                return {"jobs": [], "executions": []}
            self._tables.live = True
        self._buckets.show_all()
        # Executions look for jobs by their names, so the jobs come first.
        names = {"jobs": jobs.resume(), "executions": executions.resume()}
        self._queues.restore()
        self._thread.start()
        return names

    def stop(self) -> None:
        """Record the last changes."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(_LOOK_SECONDS)
            for kept in (self._queues, self._stacks):
                try:
                    kept.look()
                except Exception:
                    _log.exception("the state of this moment is not kept")
