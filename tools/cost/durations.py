"""Durations of functions as they would be on AWS: own processor time, and the waits of their calls.

Metered durations are those of a machine that is shared, and whose calls have hardly any latency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from autolabel.inference.submission import AT_ONCE
from autolabel.labelling.label_shard import READERS
from local import Usage
from tools.cost.bill import short_name

# Seconds that a call takes on AWS, as make bench and autolabel capacity assume them.
LATENCIES = {
    "s3": 0.02,
    "sagemaker": 0.03,
    "sagemaker-runtime": 0.03,
    "dynamodb": 0.005,
    "sqs": 0.01,
    "sns": 0.01,
    "stepfunctions": 0.01,
    "events": 0.01,
}
# Calls that a function has at the same time; others make theirs one after the other, or few.
_AT_ONCE = {"SubmitFunction": AT_ONCE, "LabelFunction": READERS, "VerifyFunction": 16}
# Lambda gives one processor for this memory, and the same share of one for less.
_PROCESSOR_MEGABYTES = 1769


def with_modelled_durations(
    used: Sequence[Usage], processor_seconds: Mapping[str, float], memory: Mapping[str, int]
) -> list[Usage]:
    """Return the use with other GB-seconds. Keys are functions' logical names; `memory` is in MB."""
    waits = defaultdict[str, float](float)
    for usage in used:
        waits[short_name(usage.caller)] += usage.calls * LATENCIES.get(usage.service, 0.0)

    def modelled(usage: Usage) -> Usage:
        name = short_name(usage.caller)
        share = min(1.0, memory[name] / _PROCESSOR_MEGABYTES)
        seconds = processor_seconds.get(name, 0.0) / share + waits[name] / _AT_ONCE.get(name, 1)
        return usage._replace(units=seconds * memory[name] / 1024)

    return [modelled(one) if one[:2] == ("lambda", "Duration") else one for one in used]
