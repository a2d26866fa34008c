"""Wait for people to answer a job's tasks at the portal."""

from __future__ import annotations

from local.sagemaker.ground_truth.annotators import MalformedPrelabel
from local.sagemaker.ground_truth.consolidation import NotConsolidated
from local.sagemaker.ground_truth.desk import Desk
from local.sagemaker.ground_truth.tasks import Clock

# API reference, HumanTaskConfig.TaskAvailabilityLifetimeInSeconds: 30 days, the default of private workforces.
LIFETIME_SECONDS = 2_592_000
# A job ends this long after its last answer, its lifetime or a failure, and at once when it is stopped.
_LOOK_SECONDS = 0.2


def await_people(desk: Desk, lifetime: float, clock: Clock, age: float) -> None:
    """Return when every task is done, `lifetime` seconds are over, or the job is stopped; raises StorageError.

    A worker who looks at a sent task again can finish that first, as long as they go on with it.
    Tasks that cannot be shown fail at once; tasks that are unanswered at the end of the lifetime fail then. `age`: the
    seconds of the lifetime that are over already.
    """
    deadline = clock() + lifetime - age
    stopping = desk.view.stopping
    for number in range(desk.tasks.total):
        if stopping.is_set():
            return
        try:
            desk.check(number)
        except (NotConsolidated, MalformedPrelabel) as e:
            desk.fail(number, str(e))
    while not stopping.wait(_LOOK_SECONDS):
        if desk.broken:
            raise desk.broken
        if desk.tasks.close_when_done():
            return
        if clock() >= deadline:
            for number in range(desk.tasks.total):
                desk.fail(number, f"ClientError: Annotation tasks expired: no answer within {lifetime:.0f} s.")
            return
