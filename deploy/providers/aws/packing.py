"""Packs bytes in gzip's format, into the same bytes on every Python and with every zlib (pure).

Published files must not depend on the machine that makes them. zlib guarantees the format of its output, not the
bytes: zlib-ng and Apple's zlib find other repetitions. Python 3.13 and later write another header.
"""

from __future__ import annotations

import heapq
import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

_HEADER = bytes.fromhex("1f8b08000000000002ff")
"""The header: gzip, deflate, no name, no time, best compression, unknown system."""

_SHORTEST, _LONGEST, _WINDOW = 3, 258, 32_768
_TRIED = 256
"""Earlier positions with the same beginning that are tried for the longest repetition."""
_CHOICES, _UNKNOWN = 2, 13
"""How often tokens are chosen, and the bits that a symbol without a code is taken to need."""

_BYTE = 8
_END = 256
_DEEPEST, _DEEPEST_OF_LENGTHS = 15, 7
_LEAST_USED = 4
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)

_LENGTH_BITS = (*[0] * 8, *(bits for bits in range(1, 6) for _ in range(4)))
_LENGTHS = (*(3 + sum(1 << bits for bits in _LENGTH_BITS[:at]) for at in range(len(_LENGTH_BITS))), _LONGEST)
_DISTANCE_BITS = (*[0] * 4, *(bits for bits in range(1, 14) for _ in range(2)))
_DISTANCES = tuple(1 + sum(1 << bits for bits in _DISTANCE_BITS[:at]) for at in range(len(_DISTANCE_BITS)))


class _Run(NamedTuple):
    """A symbol for several lengths of codes: zeros, or repetitions of the length before it."""

    symbol: int
    least: int
    bits: int
    of_zero: bool


_RUNS = (_Run(18, 11, 7, True), _Run(17, 3, 3, True), _Run(16, 3, 2, False))

Token = tuple[int, int]
"""A byte and 0, or the length of a repetition and the distance to its origin."""


class _Bits:
    """A sequence of bits, the lowest of each byte first."""

    def __init__(self) -> None:
        self._value = self._count = 0
        self._bytes = bytearray()

    def add(self, value: int, count: int) -> None:
        """Append a value of `count` bits."""
        self._value |= value << self._count
        self._count += count
        while self._count >= _BYTE:
            self._bytes.append(self._value & 0xFF)
            self._value >>= 8
            self._count -= 8

    def whole(self) -> bytes:
        """Return all bits as bytes, filled up with zeros."""
        return bytes(self._bytes) + (bytes([self._value]) if self._count else b"")


@lru_cache(maxsize=4)
def gzip_of(content: bytes) -> bytes:
    """Return content in gzip's format; the same bytes for the same content, always."""
    checksum, size = zlib.crc32(content), len(content) & 0xFFFF_FFFF
    return _HEADER + _block(_tokens(content)) + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


def _tokens(content: bytes) -> Sequence[Token]:
    """Choose bytes and repetitions that take the fewest bits, by the codes that the choice before made."""
    found = list(_repetitions(content))
    bits = _Prices(Counter(), Counter())
    for _ in range(_CHOICES):
        tokens = _cheapest(content, found, bits)
        rows = [_symbols(token) for token in tokens]
        bits = _Prices(Counter(row[0] for row in rows), Counter(row[3] for row in rows if row[3] >= 0))
    return tokens


def _repetitions(content: bytes) -> Iterator[Sequence[Token]]:
    """Find the repetitions that begin at each byte: for each length that none nearer has, the nearest."""
    places: defaultdict[bytes, list[int]] = defaultdict(list)
    for at in range(len(content)):
        limit, longest, here = min(_LONGEST, len(content) - at), _SHORTEST - 1, []
        for place in reversed(places[content[at : at + _SHORTEST]][-_TRIED:]):
            if at - place > _WINDOW or longest >= limit:
                break
            if content[place : place + longest + 1] != content[at : at + longest + 1]:
                continue
            longest = limit if content[place : place + limit] == content[at : at + limit] else longest + 1
            while longest < limit and content[place + longest] == content[at + longest]:
                longest += 1
            here.append((longest, at - place))
        yield here
        places[content[at : at + _SHORTEST]].append(at)


class _Prices:
    """The bits that bytes, lengths and distances take in the codes for such counts."""

    def __init__(self, literals: Counter[int], distances: Counter[int]) -> None:
        first, second = _code(literals, _DEEPEST) if literals else {}, _code(distances, _DEEPEST) if distances else {}
        self.literal = [first.get(symbol, (0, _UNKNOWN))[1] for symbol in range(_END)]
        symbols = [_symbols((length, 1)) for length in range(_LONGEST + 1)]
        self.length = [first.get(symbol, (0, _UNKNOWN))[1] + bits for symbol, _, bits, *_ in symbols]
        self.distance = [second.get(symbol, (0, _UNKNOWN))[1] + bits for symbol, bits in enumerate(_DISTANCE_BITS)]


def _cheapest(content: bytes, found: Sequence[Sequence[Token]], prices: _Prices) -> Sequence[Token]:
    """Return the tokens of the content that cost least."""
    rest = [0] * (len(content) + 1)
    chosen: list[Token] = [(0, 0)] * len(content)
    for at in range(len(content) - 1, -1, -1):
        least, token = prices.literal[content[at]] + rest[at + 1], (content[at], 0)
        shortest = _SHORTEST
        for longest, distance in found[at]:
            far = prices.distance[bisect_right(_DISTANCES, distance) - 1]
            # Nothing beats the longest that there is, and long runs of it have every other length, too.
            for length in range(shortest if longest < _LONGEST else longest, longest + 1):
                cost = far + prices.length[length] + rest[at + length]
                if cost < least:
                    least, token = cost, (length, distance)
            shortest = longest + 1
        rest[at], chosen[at] = least, token
    tokens, at = [], 0
    while at < len(content):
        tokens.append(chosen[at])
        at += chosen[at][0] if chosen[at][1] else 1
    return tokens


def _block(tokens: Sequence[Token]) -> bytes:
    """Return one block with all tokens: two codes, whose lengths a third one encodes, then the tokens."""
    rows = [_symbols(token) for token in tokens]
    literals = _code(Counter([*(row[0] for row in rows), _END]), _DEEPEST)
    distances = _code(Counter(row[3] for row in rows if row[3] >= 0) or Counter([0]), _DEEPEST)
    counts = max(literals) + 1, max(distances) + 1
    lengths = [
        code.get(symbol, (0, 0))[1]
        for code, n in zip((literals, distances), counts, strict=True)
        for symbol in range(n)
    ]
    runs = list(_runs(lengths))
    outer = _code(Counter(symbol for symbol, _, _ in runs), _DEEPEST_OF_LENGTHS)
    used = max(_LEAST_USED, *(at + 1 for at, symbol in enumerate(_ORDER) if symbol in outer))
    bits = _Bits()
    bits.add(1, 1)  # the last block,
    bits.add(2, 2)  # with its own codes
    bits.add(counts[0] - _END - 1, 5)
    bits.add(counts[1] - 1, 5)
    bits.add(used - _LEAST_USED, 4)
    for symbol in _ORDER[:used]:
        bits.add(outer.get(symbol, (0, 0))[1], 3)
    for symbol, value, size in runs:
        bits.add(*outer[symbol])
        bits.add(value, size)
    for literal, value, size, distance, far, far_size in rows:
        bits.add(*literals[literal])
        if distance >= 0:
            bits.add(value, size)
            bits.add(*distances[distance])
            bits.add(far, far_size)
    bits.add(*literals[_END])
    return bits.whole()


def _symbols(token: Token) -> tuple[int, int, int, int, int, int]:
    """Return symbol, value and bits of a length or byte, and of its distance, whose symbol is -1 for a byte."""
    first, distance = token
    if not distance:
        return first, 0, 0, -1, 0, 0
    length, far = bisect_right(_LENGTHS, first) - 1, bisect_right(_DISTANCES, distance) - 1
    bits = _LENGTH_BITS[length] if length < len(_LENGTH_BITS) else 0
    return _END + 1 + length, first - _LENGTHS[length], bits, far, distance - _DISTANCES[far], _DISTANCE_BITS[far]


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Encode lengths of codes as symbols, each with a value and its bits; runs become one symbol."""
    at = 0
    while at < len(lengths):
        same = next((n for n in range(1, len(lengths) - at) if lengths[at + n] != lengths[at]), len(lengths) - at)
        again = at > 0 and lengths[at - 1] == lengths[at]
        fitting = (run for run in _RUNS if same >= run.least and (lengths[at] == 0 if run.of_zero else again))
        run = next(fitting, None)
        if run is None:
            yield lengths[at], 0, 0
            at += 1
            continue
        covered = min(same, run.least + (1 << run.bits) - 1)
        yield run.symbol, covered - run.least, run.bits
        at += covered


def _code(counts: Mapping[int, int], deepest: int) -> dict[int, tuple[int, int]]:
    """Return the Huffman code of each symbol, in the order in which its bits are sent, and its length."""
    lengths = _depths(counts)
    while max(lengths.values()) > deepest:
        counts = {symbol: (count + 1) // 2 for symbol, count in counts.items()}
        lengths = _depths(counts)
    code, before, codes = 0, 0, {}
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - before
        codes[symbol] = int(f"{code:0{length}b}"[::-1], 2), length
        code, before = code + 1, length
    return codes


def _depths(counts: Mapping[int, int]) -> dict[int, int]:
    """Return the depth of each symbol in the Huffman tree; a single symbol has depth 1."""
    heap: list[tuple[int, int, tuple[int, ...]]] = [(count, symbol, (symbol,)) for symbol, count in counts.items()]
    heapq.heapify(heap)
    depths = dict.fromkeys(counts, 0 if len(counts) > 1 else 1)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        merged = first[2] + second[2]
        for symbol in merged:
            depths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], min(merged), merged))
    return depths
