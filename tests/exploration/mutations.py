"""The known ways to break the completion protocol; each replaces one part of the product."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from autolabel.aws.ledger import DynamoLedger
from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Executions, Ledger, PendingUnit, WaitingRun
from autolabel.contracts.units import parse_answer_key
from autolabel.inference.completion import Completion, Settled, Told
from tools.prove.functions import Code
from tools.prove.world import MODEL


def _ask_before_the_token_is_read(drive: str, ledger: Ledger, executions: Executions) -> int:
    if ledger.any_pending(drive, [MODEL]):
        return 0
    for waiting in ledger.waiting_runs(drive):
        executions.wake(waiting.token)
        ledger.stop_waiting(waiting)
    return 1


class _ReturnEarlyOnADuplicate(Completion):
    def begin(self, bodies: Iterable[str]) -> None:
        """Leave all units to `take`, which then finds out about duplicates."""

    def _answered(self, told: Told) -> Settled:
        location = told.result.response_parameters.output_location
        named = parse_answer_key(location.removeprefix("s3://labels/"))
        if named and self._ledger.pending(named[0]) is None:
            return Settled("late")
        return super()._answered(told)


def _store_the_token_and_look_no_more(
    run: Run, token: str, order: str, *, ledger: Ledger, executions: Executions
) -> bool:
    ledger.wait(WaitingRun(run.drive, run.run, token, run.models, order))
    return False


class _RetryByDeleteAndPut(DynamoLedger):
    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, unanswered: int = 0) -> bool:
        known = self.pending(pending.unit)
        if known is None or known.attempt != pending.attempt:
            return False
        self.settle(pending.unit, None)
        again = PendingUnit(pending.unit, pending.key, pending.etag, pending.attempt + 1, errors, since, unanswered)
        return self.add_pending(again)


class _BelieveAnErrorOfAnyAttempt(Completion):
    def _failed(self, told: Told, now: float) -> Settled:
        for pending in self._ledger.pending_of_frame(told.frame, told.model):
            believed = msgspec.structs.replace(told.result, inference_id=pending.unit.inference_id(pending.attempt))
            told = told._replace(result=believed)
        return super()._failed(told, now)


ASK_BEFORE_THE_TOKEN_IS_READ = Code(wake_if_done=_ask_before_the_token_is_read)
RETURN_EARLY_ON_A_DUPLICATE = Code(completion=_ReturnEarlyOnADuplicate)
STORE_THE_TOKEN_AND_LOOK_NO_MORE = Code(await_answers=_store_the_token_and_look_no_more)
RETRY_BY_DELETE_AND_PUT = Code(ledger=_RetryByDeleteAndPut)
BELIEVE_AN_ERROR_OF_ANY_ATTEMPT = Code(completion=_BelieveAnErrorOfAnyAttempt)
