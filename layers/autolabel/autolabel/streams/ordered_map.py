"""Reading many small things: several at a time, in order, without holding more than that."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Taken = TypeVar("Taken")
Made = TypeVar("Made")


def map_in_order(function: Callable[[Taken], Made], items: Iterable[Taken], workers: int) -> Iterator[Made]:
    """Results in the order of the items, worked on by `workers` threads, with at most twice as many under way.

    One worker is the caller's own thread.
    """
    if workers == 1:
        yield from map(function, items)
        return
    iterator = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        under_way = deque(pool.submit(function, item) for item in itertools.islice(iterator, 2 * workers))
        while under_way:
            done = under_way.popleft().result()
            for item in itertools.islice(iterator, 1):
                under_way.append(pool.submit(function, item))
            yield done
