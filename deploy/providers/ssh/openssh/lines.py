"""Splits words and quotes of ssh_config and known_hosts files, and matches patterns, as OpenSSH does (pure)."""

from __future__ import annotations

from collections.abc import Iterator

_BLANKS = " \t\r\n"


def split_lines(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line; bytes that are not UTF-8 survive as surrogates."""
    for number, line in enumerate(content.split(b"\n"), 1):
        yield number, line.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def split_keyword(line: str) -> tuple[str, str]:
    """Return the keyword of a line and the text after it; an empty keyword for a comment or an empty line."""
    keyword, rest = next_word(line.rstrip(_BLANKS + "\f"))
    if not keyword:
        keyword, rest = next_word(rest)
    return ("", "") if keyword.startswith("#") else (keyword, rest.lstrip(_BLANKS))


def next_word(text: str) -> tuple[str, str]:
    """Split off the first word, which ends at a blank or at one `=`; see strdelim() in OpenSSH's misc.c."""
    end = next((index for index, character in enumerate(text) if character in _BLANKS + '"='), None)
    if end is None:
        return text, ""
    if text[end] == '"':
        quoted, quote, rest = text[end + 1 :].partition('"')
        return (text[:end] + quoted, rest.lstrip(_BLANKS)) if quote else ("", "")
    rest = text[end + 1 :].lstrip(_BLANKS)
    if text[end] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(_BLANKS)
    return text[:end], rest


def split_words(text: str) -> list[str] | None:
    """Split a directive's arguments, up to a comment; None for a quote without its end. See argv_split()."""
    words: list[str] = []
    index, size = 0, len(text)
    while index < size:
        if text[index] in " \t":
            index += 1
            continue
        if text[index] == "#":
            break
        word, quote = "", ""
        while index < size:
            character, following = text[index], text[index + 1 : index + 2]
            if character == "\\" and (following in {"'", '"', "\\"} or (not quote and following == " ")):
                index += 1
                word += following
            elif not quote and character in " \t":
                break
            elif not quote and character in "\"'":
                quote = character
            elif quote and character == quote:
                quote = ""
            else:
                word += character
            index += 1
        if quote:
            return None
        words.append(word)
    return words


def matches(text: str, pattern: str) -> bool:
    """Whether a pattern with `*` and `?` matches the whole text; the cost grows with the product of both lengths."""
    at = position = 0
    star, resume = -1, 0
    while at < len(text):
        if position < len(pattern) and pattern[position] == "*":
            star, resume = position, at
            position += 1
        elif position < len(pattern) and pattern[position] in {"?", text[at]}:
            at, position = at + 1, position + 1
        elif star >= 0:
            resume += 1
            at, position = resume, star + 1
        else:
            return False
    return not pattern[position:].strip("*")


def matches_list(text: str, patterns: str) -> bool:
    """Whether a comma-separated list has a pattern that matches the text and no negated one that does."""
    is_matched = False
    for pattern in patterns.split(","):
        if matches(text, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            is_matched = True
    return is_matched


def matches_host(host: str, patterns: str) -> bool:
    """Whether a list of patterns matches a host's name, ignoring case."""
    return matches_list(host.lower(), patterns.lower())
