"""Reads the project's Markdown pages: tables, fences, links, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


def page(name: str) -> str:
    """Return the text of a page, by its path in the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    start = text.index(f"\n## {heading}\n")
    end = text.find("\n## ", start + 1)
    return text[start:] if end < 0 else text[start:end]


def fences(text: str, language: str) -> list[str]:
    """Return the code blocks of a language; ``""`` is those that name none."""
    return [code for found, code in _FENCE.findall(text) if found == language]


def rows(text: str, head: str) -> list[list[str]]:
    """Return the rows of the tables whose first heading cell is ``head``."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not inside:
            inside = cells[0] == head
        elif not set(line) <= set("|-: "):
            found.append(cells)
    return found


def codes(cell: str) -> list[str]:
    """Return what stands between backticks."""
    return _CODE.findall(cell)


def links(text: str) -> list[str]:
    """Return the targets of links and pictures, outside code blocks."""
    return _LINK.findall(_FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings have."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str, program: str) -> Iterator[list[str]]:
    """Yield the command lines of a program in the code blocks without a language, split as a shell does.

    Of a pipe only the first command.
    """
    for block in fences(text, ""):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(f"{program} "):
                words = shlex.split(line, comments=True)
                yield words[: words.index("|")] if "|" in words else words
