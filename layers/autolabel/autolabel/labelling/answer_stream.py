"""Read answers as streams: keep what a decoder needs, and hold no ballast (masks, pictures) in memory.

A segmentation model's answer can have hundreds of megabytes, and its boxes only kilobytes. `project` walks over the top
level of the answer's JSON chunk by chunk, and keeps only the values of the wanted keys. It parses nothing: it skips a
value by its brackets and quotes. So a broken number inside the ballast is not noticed, and need not be. Wanted masks
are passed on one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from autolabel.contracts.errors import AnswerRefused
from autolabel.models.decoders.base import MAX_OBJECTS, MaskPlace

# A manifest line has room for some hundred boxes of about 100 bytes each. Parsed, they take ten times as much memory,
# and several answers are parsed at a time.
MAX_KEPT_BYTES = 2_000_000
MAX_KEY_BYTES = 4_096
MAX_KEYS = 1_000
# Brackets of a kept value, which are visited one by one: a mask has two for each row.
MAX_BRACKETS = 100_000
# A mask of 3 megapixels, each a float of 20 characters. Several answers are read at a time.
MAX_MASK_BYTES = 64_000_000

_MARKS = (b'"', b"{", b"}")
_NO_SPACE = re.compile(rb"[^ \t\n\r]")
_STRUCTURE = re.compile(rb'[\[\]{}"]')
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR_END = re.compile(rb"[,}\]\s]")


def _ignore(place: MaskPlace, mask: bytes) -> None:
    """Drop a mask, if the caller wants none."""


def project(
    chunks: Iterable[bytes],
    keys: frozenset[str],
    masks: Sequence[MaskPlace] = (),
    take: Callable[[MaskPlace, bytes], None] = _ignore,
) -> bytes:
    """Keep only `keys` of a JSON object, or of each object in a JSON list. `chunks`: UTF-8, cut at any byte.

    Values at the places `masks` go to `take`, one mask at a time. Raises AnswerRefused if the JSON is neither object
    nor list, ends too early, or has more than MAX_KEPT_BYTES of wanted values, MAX_BRACKETS in one of them, MAX_KEYS
    keys in an object, MAX_OBJECTS elements in the list or MAX_MASK_BYTES in a mask.
    """
    return _Projection(_Reader(chunks), keys, masks, take).project()


class _Projection:
    """Walks over one answer and gathers what is kept of it."""

    def __init__(
        self,
        reader: _Reader,
        keys: frozenset[str],
        masks: Sequence[MaskPlace],
        take: Callable[[MaskPlace, bytes], None],
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._masks = {place.key: place for place in masks}
        self._take = take
        self._kept = bytearray()
        # The mask that each element of a list has itself: one place, or none.
        self._own = [place for place in masks if not place.listed]
        self._found = 0

    def project(self) -> bytes:
        if self._reader.peek() == b"[":
            self._elements(MAX_OBJECTS, self._element, self._kept)
        else:
            self._object()
        return bytes(self._kept)

    def _element(self) -> None:
        if self._reader.peek() != b"{":
            self._reader.value(self._kept)
            return
        self._found = 0
        self._object()
        # Masks are matched with objects by position: an object without a mask must not get the next object's.
        for place in self._own[self._found :]:
            self._take(place, b"null")

    def _elements(self, limit: int, element: Callable[[], None], kept: bytearray | None) -> None:
        """Read a list; call `element` at each element, which must read exactly one."""
        self._reader.expect(b"[")
        brackets = kept if kept is not None else bytearray()
        brackets += b"["
        if self._reader.peek() == b"]":
            self._reader.take()
            brackets += b"]"
            return
        for _ in range(limit):
            element()
            if self._goes_on(b"]"):
                brackets += b","
            else:
                brackets += b"]"
                return
        raise AnswerRefused("answer-too-large", f"the answer has a list of more than {limit:,} elements")

    def _object(self) -> None:
        reader, kept = self._reader, self._kept
        reader.expect(b"{")
        kept += b"{"
        first = len(kept)
        if reader.peek() == b"}":
            reader.take()
            kept += b"}"
            return
        for _ in range(MAX_KEYS):
            key = reader.string()
            reader.expect(b":")
            name = _unquote(key)
            if name in self._keys:
                if len(kept) > first:
                    kept += b","
                kept += key + b":"
                reader.value(kept)
            elif name in self._masks:
                self._read_masks(self._masks[name])
            else:
                reader.value(None)
            if not self._goes_on(b"}"):
                kept += b"}"
                return
        raise AnswerRefused("answer-too-large", f"the answer has more than {MAX_KEYS:,} keys")

    def _read_masks(self, place: MaskPlace) -> None:
        def mask() -> None:
            body = bytearray()
            self._reader.value(body, MAX_MASK_BYTES)
            self._take(place, bytes(body))

        if place.listed and self._reader.peek() == b"[":
            self._elements(MAX_OBJECTS, mask, None)
        elif place.listed:
            # Not a list of masks: null, for a picture without objects.
            self._reader.value(None)
        else:
            self._found += 1
            if self._found > 1:
                raise AnswerRefused("answer-unreadable", "an object has two masks")
            mask()

    def _goes_on(self, end: bytes) -> bool:
        separator = self._reader.take()
        if separator not in (end, b","):
            raise AnswerRefused("answer-unreadable", f"the answer has {separator!r} between its values")
        return separator == b","


def _unquote(key: bytes) -> str:
    # Wanted keys need no escapes, so a key with an escape is not wanted.
    return "" if b"\\" in key else key[1:-1].decode("utf-8", "replace")


class _Reader:
    """A cursor over chunks. It holds one chunk, and the kept part of a value."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._chunk = b""
        self._at = 0
        self._marked = 0

    def _more(self) -> None:
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._at = chunk, 0
                # Searched once: a search at every bracket would take quadratic time.
                self._marked = 1 + max(map(chunk.rfind, _MARKS))
                return
        raise AnswerRefused("answer-truncated", "the answer ends before its JSON does")

    def peek(self) -> bytes:
        """Return the next byte that is not white space, without taking it."""
        while True:
            match = _NO_SPACE.search(self._chunk, self._at)
            if match:
                self._at = match.start()
                return match[0]
            self._more()

    def take(self) -> bytes:
        byte = self.peek()
        self._at += 1
        return byte

    def expect(self, byte: bytes) -> None:
        found = self.take()
        if found != byte:
            raise AnswerRefused("answer-unreadable", f"the answer is not JSON: it has {found!r} instead of {byte!r}")

    def string(self) -> bytes:
        """Take a key and return it with its quotes."""
        kept = bytearray()
        self.expect(b'"')
        kept += b'"'
        self._string(kept, MAX_KEY_BYTES)
        return bytes(kept)

    def value(self, kept: bytearray | None, limit: int = MAX_KEPT_BYTES) -> None:
        """Pass over one value. Its bytes go to `kept`, if given, which holds at most `limit` bytes."""
        first = self.peek()
        if first == b'"':
            self._pass(1, kept, limit)
            self._string(kept, limit)
        elif first in b"[{":
            self._nested(kept, limit)
        else:
            self._scalar(kept, limit)

    def _pass(self, count: int, kept: bytearray | None, limit: int) -> None:
        if kept is not None:
            kept += self._chunk[self._at : self._at + count]
            if len(kept) > limit:
                raise AnswerRefused("answer-too-large", f"the needed part of the answer has more than {limit:,} bytes")
        self._at += count

    def _string(self, kept: bytearray | None, limit: int) -> None:
        """Pass over the rest of a string, after its opening quote."""
        while True:
            if self._at >= len(self._chunk):
                self._more()
            quote = self._chunk.find(b'"', self._at)
            if self._chunk.find(b"\\", self._at, len(self._chunk) if quote < 0 else quote) < 0:
                # No escape before the quote: a base64 picture is passed over at the speed of memory.
                self._pass((len(self._chunk) if quote < 0 else quote + 1) - self._at, kept, limit)
                if quote >= 0:
                    return
                continue
            match = _STRING_END.match(self._chunk, self._at)
            if match:
                self._pass(match.end() - self._at, kept, limit)
                return
            # The string does not end in this chunk. If its last byte is a backslash, it escapes the next chunk's first.
            rest = self._chunk[self._at :]
            backslashes = len(rest) - len(rest.rstrip(b"\\"))
            self._pass(len(rest), kept, limit)
            if backslashes % 2:
                self._more()
                self._pass(1, kept, limit)

    def _nested(self, kept: bytearray | None, limit: int) -> None:
        depth = brackets = 0
        while True:
            if self._at >= len(self._chunk):
                self._more()
            if kept is None and depth and (closed := self._depth_after_chunk(depth)):
                depth = closed
                self._at = len(self._chunk)
                continue
            match = _STRUCTURE.search(self._chunk, self._at)
            if not match:
                self._pass(len(self._chunk) - self._at, kept, limit)
                continue
            self._pass(match.end() - self._at, kept, limit)
            if match[0] == b'"':
                self._string(kept, limit)
                continue
            brackets += 1
            if kept is not None and brackets > MAX_BRACKETS:
                raise AnswerRefused("answer-too-large", f"a value has more than {MAX_BRACKETS:,} brackets")
            depth += 1 if match[0] in b"[{" else -1
            if depth == 0:
                return

    def _depth_after_chunk(self, depth: int) -> int:
        """Return the depth after the rest of the chunk, or 0 if its brackets must be visited one by one.

        Without a quote no string can hide a bracket and no other key can begin. Then the brackets can be counted, which
        is ten times faster than visiting them, and masks are mostly brackets. This holds for skipped values only: a
        kept value may be in a list, where the next value begins without a quote or a brace.
        """
        chunk, at = self._chunk, self._at
        # A brace comes with the quotes of its keys, or ends the object. Both are rare, and visited one by one.
        if at < self._marked:
            return 0
        after = depth + chunk.count(b"[", at) - chunk.count(b"]", at)
        if after <= 0:
            # The value ends in this chunk: visit the rest bracket by bracket, without counting again at each.
            self._marked = len(chunk)
        return max(0, after)

    def _scalar(self, kept: bytearray | None, limit: int) -> None:
        while True:
            if self._at >= len(self._chunk):
                self._more()
            match = _SCALAR_END.search(self._chunk, self._at)
            if match:
                self._pass(match.start() - self._at, kept, limit)
                return
            self._pass(len(self._chunk) - self._at, kept, limit)
