"""``label`` in a terminal: a question on the screen, one key an answer."""

from __future__ import annotations

import string
import time
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stream_al_consumers.keys import BACKSPACE, ENTER, ESCAPE, Keys
from stream_al_consumers.labeling import Session
from stream_al_consumers.output import harmless

COMMANDS = {
    "s": "skip",
    "u": "unsure",
    "z": "undo",
    "n": "another label",
    "?": "help",
    "q": "quit",
}
LABEL_KEYS = "123456789" + "".join(c for c in string.ascii_lowercase if c not in COMMANDS)
KEY_SECONDS = 0.25
HELD_SECONDS = 10.0
"""With an empty queue nothing follows that would send the held answer: it is sent after so long."""
MAX_TEXT = 4_000
MAX_FEATURES = 40
FEW_FEATURES = 12
"""So many stand below each other; more stand side by side where they are short."""
SHORT_PAIR = 30
MAX_LABEL = 256
_HELP = """\
One key answers the question; the answer is held back until the next one, so that z can take it back.

  1 … 9, a … the label beside the key
  n          another label, typed
  s          skip: leave it to somebody else
  u          unsure: it cannot be told
  z          undo the last answer
  q          quit; the held answer is sent

Press any key."""


class LabelConsole:
    """Shows a session's questions and turns keys into answers.

    Parameters
    ----------
    session : Session
    keys : Keys
    console : rich.console.Console
    """

    def __init__(self, session: Session, keys: Keys, console: Console) -> None:
        self._session = session
        self._keys = keys
        self._console = console
        self._notice = ""

    def run(self) -> None:
        """Ask until the person quits; the held answer is sent at the end, however it ends."""
        try:
            while self._turn():
                pass
        except (KeyboardInterrupt, EOFError):
            pass
        finally:
            self._session.flush()

    def _turn(self) -> bool:
        """Show one question, or the empty queue, and obey one key; return whether to go on."""
        if self._session.advance():
            self._show(self._question())
            key: str | None = self._wait()
        else:
            self._show(Text("No open requests. Waiting for new ones; q quits."))
            key = self._wait_for_request()
        self._notice = ""
        return True if key is None else self._obey(key)

    def _wait(self) -> str:
        while True:
            key = self._keys.read(KEY_SECONDS)
            if key is not None:
                return key

    def _wait_for_request(self) -> str | None:
        """Return a key, or None once there is a question."""
        send_at = time.monotonic() + HELD_SECONDS
        while not self._session.advance():
            key = self._keys.read(KEY_SECONDS)
            if key is not None:
                return key
            if self._session.holds is not None and time.monotonic() > send_at:
                self._session.flush()
                return None
        return None

    def _obey(self, key: str) -> bool:
        session = self._session
        if key == "q":
            return False
        if key == "?":
            self._show(Text(_HELP))
            self._wait()
        elif key == "z":
            self._notice = "taken back" if session.undo() else "there is nothing to undo"
        elif session.question is None:
            return True
        elif key == "s":
            session.skip()
        elif key == "u":
            session.unsure()
        elif key == "n":
            self._typed_label()
        else:
            self._labelled(key)
        return True

    def _labelled(self, key: str) -> None:
        labels = self._session.labels()
        place = LABEL_KEYS.find(key)
        if 0 <= place < len(labels):
            self._session.answer(labels[place])
        elif key not in (*ENTER, ESCAPE):
            self._notice = f"no label has the key {harmless(key)!r}"

    def _typed_label(self) -> None:
        """Read a label; a new one only where labels are open."""
        typed = ""
        while True:
            self._show(Group(self._question(), Text(f"label: {typed}█   (Enter gives it, Esc leaves)")))
            key = self._wait()
            if key == ESCAPE:
                return
            if key in ENTER:
                break
            if key in BACKSPACE:
                typed = typed[:-1]
            elif key.isprintable() and len(typed) < MAX_LABEL:
                typed += key
        label = typed.strip()
        if not label:
            return
        if label in self._session.labels() or self._session.open_labels:
            self._session.answer(label)
        else:
            self._notice = f"{label!r} is none of the labels, and task.open_labels is false"

    # ---- the screen ---------------------------------------------------------------------------

    def _show(self, content: RenderableType) -> None:
        session = self._session
        counts = ", ".join(f"{count} {status}" for status, count in session.counts.items() if count)
        held = f"; held: {harmless(session.holds)}, z undoes it" if session.holds is not None else ""
        head = Text(f"{max(0, session.open_count)} open; {counts or 'none answered yet'}{held}", style="dim")
        keys = Text("  ".join(f"{key} {what}" for key, what in COMMANDS.items()), style="dim")
        notice = Text(self._notice, style="yellow")
        self._console.clear()
        self._console.print(Group(head, Padding(content, (1, 2)), keys, notice))

    def _question(self) -> RenderableType:
        question = self._session.question
        if question is None:
            return Text("")
        request, event = question.request, question.request["event"]
        parts: list[RenderableType] = []
        if request.get("guidelines"):
            parts += [Text(harmless(request["guidelines"]), style="italic"), Text("")]
        if event.get("text"):
            text = harmless(event["text"])
            parts += [Text(text[:MAX_TEXT] + ("…" if len(text) > MAX_TEXT else "")), Text("")]
        for title in ("features", "payload"):
            if event.get(title):
                parts += [_pairs(title, event[title]), Text("")]
        if event.get("vector"):
            parts += [Text(f"a vector of {len(event['vector'])} numbers", style="dim"), Text("")]
        if request.get("suggestion"):
            parts += [Text(f"suggested: {harmless(request['suggestion'])}"), Text("")]
        parts.append(self._label_line())
        return Group(*parts)

    def _label_line(self) -> RenderableType:
        labels = self._session.labels()
        if not labels:
            return Text("No label is known yet: press n and type one.")
        shown = [
            Text(f" {key} ", style="reverse").append(f" {harmless(label)}", style="not reverse")
            for key, label in zip(LABEL_KEYS, labels, strict=False)
        ]
        if len(labels) > len(LABEL_KEYS):
            shown.append(Text(f"and {len(labels) - len(LABEL_KEYS)} more: n"))
        return Columns(shown, padding=(0, 3))


def _pairs(title: str, values: dict[str, Any]) -> RenderableType:
    """Return names and values, the first ones where there are many; short ones beside each other."""
    pairs = [
        (harmless(name), harmless(_shown(value))[:MAX_TEXT])
        for name, value in list(values.items())[:MAX_FEATURES]
    ]
    if len(values) > MAX_FEATURES:
        pairs.append(("…", f"{len(values) - MAX_FEATURES} more {title}"))
    if len(pairs) > FEW_FEATURES and all(len(name + value) < SHORT_PAIR for name, value in pairs):
        cells = [Text.assemble((name, "dim"), "  ", value) for name, value in pairs]
        return Columns(cells, padding=(0, 3), column_first=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in pairs:
        table.add_row(Text(name), Text(value))
    return table


def _shown(value: object) -> str:
    """Return a value as a person would write it."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and (value == 0 or 1e-3 <= abs(value) < 1e12):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
