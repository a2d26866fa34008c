"""The worlds that are explored, each with its budget of faults."""

from __future__ import annotations

from tools.prove.world import Budget, World


def frame(index: int, drive: str = "d") -> str:
    return f"drives/{drive}/front/{1_700_000_000_000_000_000 + index}.png"


ONE = (frame(0),)
# Two frames whose units share a partition of the ledger, and two whose units do not.
TOGETHER = (frame(0), frame(2))
APART = (frame(0), frame(4))
DRIVES = (frame(0, "d"), frame(0, "e"))

WORLDS = {
    # Submit takes the uploads while the run already works.
    "uploads": World(ONE, Budget()),
    "uploads, a loss, a time-out": World(ONE, Budget(losses=1, timeouts=1)),
    # One unit with many faults.
    "one unit, duplicates, a crash, a loss, a time-out": World(
        ONE, Budget(duplicates=2, crashes=1, losses=1, timeouts=1), begun=True
    ),
    "one unit, a crash, a loss, a time-out, deadlines": World(
        ONE, Budget(crashes=1, losses=1, timeouts=1, delays=1), begun=True
    ),
    "one unit, a call made twice, a crash, a duplicate": World(
        ONE, Budget(repeats=1, crashes=1, duplicates=1), begun=True
    ),
    "one unit that is never answered": World(ONE, Budget(losses=1, timeouts=1, delays=1), begun=True, max_unanswered=1),
    "one unit, calls that outlive their wait": World(ONE, Budget(timeouts=2), begun=True, slow_waits=True),
    "one unit, reconcile passes that overlap, a time-out": World(ONE, Budget(overlaps=1, timeouts=1), begun=True),
    # Two units.
    "units together, page by page": World(TOGETHER, Budget(), begun=True, page=1),
    "units together, a duplicate, a crash, a time-out": World(
        TOGETHER, Budget(duplicates=1, crashes=1, timeouts=1), begun=True
    ),
    "units apart, a time-out, a loss": World(APART, Budget(timeouts=1, losses=1), begun=True),
    "a late frame": World(ONE, Budget(), begun=True, late=(frame(2),)),
    # The model fails.
    "a failing model, a duplicate": World(ONE, Budget(failures=2, duplicates=1), begun=True),
    "a failing model, a crash": World(ONE, Budget(failures=2, crashes=1), begun=True),
    "a failing model, a request that expires, a time-out": World(
        ONE, Budget(failures=2, expiries=1, timeouts=1), begun=True
    ),
    "two units, failures": World(TOGETHER, Budget(failures=2), begun=True),
    # The notifications of both drives may come in one batch.
    "two drives in a batch": World(DRIVES, Budget(), begun=True, batch=2),
    # The endpoint chooses its own names for answers.
    "answers elsewhere, duplicates, a crash, a loss, a time-out": World(
        ONE, Budget(duplicates=2, crashes=1, losses=1, timeouts=1), begun=True, honours_names=False
    ),
    "answers elsewhere, failures": World(ONE, Budget(failures=2), begun=True, honours_names=False),
}

# Only `make prove` explores these: a minute or two each, and up to some gigabytes.
LARGE = {
    "uploads, a duplicate": World(ONE, Budget(duplicates=1)),
    "uploads, a crash": World(ONE, Budget(crashes=1)),
    "units apart, duplicates, a crash, a time-out": World(
        APART, Budget(duplicates=2, crashes=1, timeouts=1), begun=True
    ),
    "answers elsewhere, a failure, a duplicate": World(
        ONE, Budget(failures=1, duplicates=1), begun=True, honours_names=False
    ),
    "two drives in a batch, a duplicate": World(DRIVES, Budget(duplicates=1), begun=True, batch=2),
}
