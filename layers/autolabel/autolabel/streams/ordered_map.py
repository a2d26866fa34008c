"""Ordered parallel map with bounded look-ahead, for reading many small objects."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Taken = TypeVar("Taken")
Made = TypeVar("Made")


def map_in_order(function: Callable[[Taken], Made], items: Iterable[Taken], workers: int) -> Iterator[Made]:
    """Apply a function in `workers` threads; yield the results in the order of the items.

    At most twice as many items as workers are under way. With one worker, the caller's own thread does the work.
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
