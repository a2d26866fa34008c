"""Waiting for reviewers: a run sleeps while they work on a job in Label Studio, which Step Functions cannot watch.

The protocol is the same as for answers: the token is stored before the function checks whether the job is done, and a
wake is a hint, after which the run checks again by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from autolabel.contracts.ports import Executions, JobTokens, WaitingJob


def await_reviewers(
    waiting: WaitingJob, annotated: Callable[[], bool], *, tokens: JobTokens, executions: Executions
) -> bool:
    """Store the token with which a notification wakes the run. Returns whether the run was woken at once.

    A call that outlives its wait does not replace the token of a later wait (by `order`).
    """
    if not tokens.hold(waiting) or not annotated():
        return False
    return _wake(waiting, tokens, executions)


def wake_job(job: str, *, tokens: JobTokens, executions: Executions) -> bool:
    """Wake the run that waits for a job, because a notification says that the job is done. False if no run waits."""
    waiting = tokens.held(job)
    return waiting is not None and _wake(waiting, tokens, executions)


def _wake(waiting: WaitingJob, tokens: JobTokens, executions: Executions) -> bool:
    woken = executions.wake(waiting.token)
    tokens.release(waiting)
    return woken
