"""Parses HTML into elements, for tests of its contents."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "input", "link", "source", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(
            "".join(child if isinstance(child, str) else f" {child.text} " for child in self.children).split()
        )

    def all(self, tag: str = "", **wanted: str) -> list[Element]:
        elements = []
        for child in self.children:
            if isinstance(child, Element):
                fits = all(
                    value in child.attributes.get(name.strip("_"), "").split() for name, value in wanted.items()
                )
                if fits and tag in {"", child.tag}:
                    elements.append(child)
                elements += child.all(tag, **wanted)
        return elements

    def one(self, tag: str = "", **wanted: str) -> Element:
        (element,) = self.all(tag, **wanted)
        return element


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(page: str) -> Element:
    """Parse HTML, and insist that every element is closed where it should be."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root], f"<{reader.open[-1].tag}> is never closed"
    return reader.root


def log_data(page: Element) -> dict[str, object]:
    """Return what pytest-html's script would build its tables from."""
    data: dict[str, object] = json.loads(page.one("div", id="data-container").attributes["data-jsonblob"])
    return data
