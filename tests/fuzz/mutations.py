"""Mutates good samples, as bytes and as JSON."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "search"
fuzz = settings(
    max_examples=20_000 if LONG else 400,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# For properties that take a whole run each time.
fuzz_slow = settings(fuzz, max_examples=2_000 if LONG else 60)

# Replace the strings of the same names in JSON, since json.dumps cannot write them.
_RAW = {
    "@deep": b"[" * 3_000 + b"]" * 3_000,
    "@deeper": b'{"a":' * 50_000,
    "@edge": b"[" * 900 + b"]" * 900,
    "@huge": b"1e400",
    "@digits": b"9" * 5_000,
    "@surrogate": b'"\\ud800"',
    "@overlong": b'"\xc0\xaf\xed\xa0\x80"',
    "@doubled": b'1,"key":2,"key":3,"Records":[],"cameras":{}',
}
HOSTILE_TEXT = (
    "",
    "\x00",
    "\n",
    "\u202egnp",
    "１２３",
    "ｄｒｉｖｅ",
    "dr\u0456ve",
    "../../x",
    "%2e%2e%2f",
    "%252e",
    "<script>alert(1)</script>",
    "\x1b[31m",
    "x" * 70_000,
    "é" * 1_000,
    "{{ 7 * 7 }}",
)
_HOSTILE: tuple[Any, ...] = (
    *HOSTILE_TEXT,
    *_RAW,
    None,
    True,
    0,
    -1,
    0.5,
    -0.0,
    2**31,
    2**63,
    10**40,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[[]]],
    {"": ""},
)
_TOKENS = (b"\x00", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"NaN", b"-Infinity", b"1e400", b'"', b"\\", b"\\ud800")
_TOKENS += (b"{", b"}", b"[", b"]", b",", b":", b"[" * 2_000, b"%2e%2e", b"%00", b"%ff", b"\n", b"9" * 400)


def mutated(samples: Sequence[bytes], changes: int = 4) -> st.SearchStrategy[bytes]:
    """Samples with truncations, flipped bytes, cuts, repetitions, parts of each other and bad tokens."""

    def mutate(seed: int) -> bytes:
        rng = random.Random(seed)
        body = rng.choice(samples)
        for _ in range(rng.randint(0, changes)):
            body = rng.choice(_CHANGES)(rng, body, rng.choice(samples))
        return body

    return st.integers(0, 2**48).map(mutate)


def _flip(rng: random.Random, body: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + bytes([rng.choice([0, 0x7F, 0x80, 0xFF, rng.randrange(256)])]) + body[at + 1 :]


def _cut(rng: random.Random, body: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + body[at + rng.randint(1, 30) :]


def _truncate(rng: random.Random, body: bytes, other: bytes) -> bytes:
    return body[: rng.randrange(len(body) + 1)]


def _repeat(rng: random.Random, body: bytes, other: bytes) -> bytes:
    start = rng.randrange(len(body) + 1)
    end = start + rng.randint(1, 60)
    return body[:end] + body[start:end] * rng.choice([1, 2, 50]) + body[end:]


def _splice(rng: random.Random, body: bytes, other: bytes) -> bytes:
    return body[: rng.randrange(len(body) + 1)] + other[rng.randrange(len(other) + 1) :]


def _sow(rng: random.Random, body: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + rng.choice(_TOKENS) + body[at + rng.choice([0, 0, 1, 8]) :]


_CHANGES: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (_flip, _cut, _truncate, _repeat, _splice, _sow)


def mutated_json(samples: Sequence[bytes], changes: int = 3) -> st.SearchStrategy[bytes]:
    """Samples whose values are swapped, replaced by hostile ones, left out, nested and repeated."""
    values = [json.loads(sample) for sample in samples]

    def mutate(seed: int) -> bytes:
        rng = random.Random(seed)
        value = json.loads(json.dumps(rng.choice(values)))
        for _ in range(rng.randint(1, changes)):
            places = list(_places(value))
            if not places:
                break
            holder, name = rng.choice(places)
            _change(rng, holder, name, [inner[key] for inner, key in places])
        return _written(value)

    return st.integers(0, 2**48).map(mutate)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every value inside a value, as its container and its key or index."""
    found = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        names = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for name in names:
            found.append((holder, name))
            waiting.append(holder[name])
    return found


def _change(rng: random.Random, holder: Any, name: Any, others: list[Any]) -> None:
    old = holder[name]
    kind = rng.randrange(6)
    if kind == 0:
        del holder[name]
    elif kind == 1:
        holder[name] = [old] if rng.random() < 0.5 else {"a": old}
    elif kind == 2:
        # A copy: an object that contains itself is not JSON.
        holder[name] = json.loads(json.dumps(rng.choice(others)))
    elif kind == 3 and isinstance(holder, list):
        holder[name:name] = [old] * rng.choice([1, 200])
    elif kind == 3:
        holder[rng.choice(HOSTILE_TEXT)] = old
    elif kind == 4 and isinstance(old, str):
        at = rng.randrange(len(old) + 1)
        holder[name] = old[:at] + rng.choice(HOSTILE_TEXT) + old[at:]
    else:
        holder[name] = rng.choice(_HOSTILE)


def _written(value: Any) -> bytes:
    body = json.dumps(value).encode()
    for name, raw in _RAW.items():
        body = body.replace(b'"' + name.encode() + b'"', raw)
    return body


def outside(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Everything that may come instead of the samples, which are JSON."""
    return mutated_json(samples) | mutated_json(samples, changes=1) | mutated(samples) | st.binary(max_size=200)
