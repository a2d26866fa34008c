"""Waiting for people: a run sleeps while they work on a job of a back-end that Step Functions does not know.

The same protocol as for answers: the token is stored before anybody looks whether the job is done, and a wake is a
hint, after which the run looks for itself.
"""

from __future__ import annotations

from collections.abc import Callable

from autolabel.contracts.ports import Executions, JobTokens, WaitingJob


def await_reviewers(
    waiting: WaitingJob, annotated: Callable[[], bool], *, tokens: JobTokens, executions: Executions
) -> bool:
    """Store the token with which a notification wakes the run; whether the run is woken at once.

    A call that outlives its wait leaves the token of a later one (by `order`) in its place.
    """
    if not tokens.hold(waiting) or not annotated():
        return False
    return _wake(waiting, tokens, executions)


def wake_job(job: str, *, tokens: JobTokens, executions: Executions) -> bool:
    """Wake the run that waits for a job, which somebody says is done; False when none waits."""
    waiting = tokens.held(job)
    return waiting is not None and _wake(waiting, tokens, executions)


def _wake(waiting: WaitingJob, tokens: JobTokens, executions: Executions) -> bool:
    woken = executions.wake(waiting.token)
    tokens.release(waiting)
    return woken
