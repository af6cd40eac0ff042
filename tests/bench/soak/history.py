"""What the soak's clients saw, and what may be said of it.

Three witnesses are held against each other: the client (what it got), the servers' journals (what they
executed) and the daemon's access log (what it says it did). A request that failed needs an excuse, and the
only one is a fault that its server, or more than one server, suffered in the request's own time.
"""

from __future__ import annotations

import enum
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.soak.servers import SoakServer

__all__ = ["Ended", "History", "Sent", "Violation"]

MAX_ATTEMPTS = 3


OF_OURS = frozenset(
    {
        "reload refused",
        "an address is held down",
        "an address is failed",
        "every address of a target has failed",
    }
)
"""What the daemon has to say of a broken file, and of servers that were struck."""


class Ended(enum.Enum):
    """How a request ended for its client."""

    OK = "ok"
    """A whole answer, each byte of it right."""
    STATUS = "status"
    """A whole answer that says no."""
    BROKEN = "broken"
    """The answer broke off, visibly."""
    LOST = "lost"
    """The connection ended before an answer began."""
    UNASKED = "unasked"
    """Sent ahead on a connection that ended with the answer before it: as if never sent."""
    LEFT = "left"
    """The client left, as it had meant to."""
    WRONG = "wrong"
    """A whole answer with other bytes in it than there should be."""
    STUCK = "stuck"
    """No end came for longer than anything may take."""


@dataclass
class Sent:
    """One request, and all that its client knows of it."""

    request_id: str
    client: str
    method: str
    up_bytes: int = 0
    up_hash: str = ""
    down_bytes: int = 0
    etag: str = ""
    framing: str = "counted"
    first_byte: int = 0
    """Of the range that is asked for."""
    has_key: bool = False
    is_streamed: bool = False
    """Whether its content may go past replay_limit."""
    is_truncated: bool = False
    """The client left in the midst of its content."""
    began_at: float = 0.0
    ended_at: float = 0.0
    ended: Ended = Ended.STUCK
    status: int = 0
    origin: str = ""
    """Who answered, by the answer."""
    detail: str = ""

    @property
    def is_idempotent(self) -> bool:
        return self.method != "POST" or self.has_key

    @property
    def is_resumable(self) -> bool:
        """Whether a break in mid-answer shows, and another server can give the same bytes."""
        return self.method == "GET" and self.etag == "strong" and self.framing != "close"

    @property
    def has_failed(self) -> bool:
        """Not as its client had meant it to."""
        failed = self.ended in {Ended.STATUS, Ended.BROKEN, Ended.LOST}
        return failed and not self.is_truncated


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept."""

    what: str
    sent: Sent
    evidence: Sequence[str]

    def __str__(self) -> str:
        lines = (f"    {each}" for each in self.evidence)
        return "\n".join([f"{self.what}: {self.sent}", *lines])


@dataclass
class History:
    """All requests of a run, and the three witnesses."""

    servers: Sequence[SoakServer]
    sent: list[Sent] = field(default_factory=list)

    def read(self, log: Iterable[str]) -> None:
        """Takes in the journals and the daemon's log, once the run is over."""
        self.log: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.other_lines: list[dict[str, Any]] = []
        for text in log:
            line = json.loads(text)
            if line["message"] == "access":
                self.log[line["id"]].append(line)
            else:
                self.other_lines.append(line)
        self.journal: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for server in self.servers:
            for text in _lines(server.journal):
                line = json.loads(text)
                self.journal[line["id"]].append((server.name, line))

    def violations(self) -> Iterator[Violation]:
        """Every promise that was not kept."""
        for sent in self.sent:
            for what in self._broken_promises(sent):
                yield Violation(what, sent, self._evidence(sent))

    def _broken_promises(self, sent: Sent) -> Iterator[str]:
        if sent.ended in {Ended.WRONG, Ended.STUCK}:
            yield sent.ended.value
        done = self._events(sent, "done")
        if sent.ended is Ended.OK:
            yield from self._false_ok(sent, done)
        if not sent.is_idempotent and len(begun := self._events(sent, "begun")) > 1:
            yield f"a POST reached {len(begun)} servers"
        if sent.is_truncated and done:
            yield "executed, though its content was never whole"
        if any(line["hash"] != sent.up_hash for _, line in done):
            yield "executed with other content than was sent"
        attempts = max((len(line["attempts"]) for line in self.log[sent.request_id]), default=0)
        if attempts > MAX_ATTEMPTS:
            yield f"{attempts} attempts"
        if len(self.log[sent.request_id]) > 1:
            yield "more than one line in the access log"
        if sent.has_failed and not self.excuse(sent):
            yield f"failed without need ({sent.ended.value} {sent.status or ''})"

    def _false_ok(self, sent: Sent, done: Sequence[tuple[str, Any]]) -> Iterator[str]:
        if sent.origin not in {name for name, _ in done}:
            yield f"ok, and {sent.origin!r} never executed it"
        if len(self.log[sent.request_id]) != 1:
            yield "ok, without its line in the access log"
        elif self.log[sent.request_id][0]["outcome"] not in {"answered", "tunnelled"}:
            yield "ok, and the access log says otherwise"

    def excuse(self, sent: Sent) -> str:
        """Why a request was allowed to fail; empty where it was not."""
        struck = {one.name: one.struck(sent.began_at, sent.ended_at) for one in self.servers}
        impaired = [name for name, kinds in struck.items() if kinds]
        if not impaired or not self._asked(sent) & set(impaired):
            return ""
        if not sent.is_idempotent:
            return "a POST, and its server was struck"
        if sent.is_streamed:
            return "past replay_limit, and its server was struck"
        if sent.ended is Ended.BROKEN and not sent.is_resumable:
            return "broken off without a strong ETag"
        attempts = max((len(line["attempts"]) for line in self.log[sent.request_id]), default=0)
        if attempts == MAX_ATTEMPTS and self._asked(sent) - {""} <= set(impaired):
            return "the server of each of its three attempts was struck"
        return ""

    def _asked(self, sent: Sent) -> set[str]:
        """The servers that it went to: by the answer, by the journals, by the access log."""
        names = {one.bind: one.name for one in self.servers}
        logged = self.log[sent.request_id]
        asked = {names.get(a["endpoint"], "") for line in logged for a in line["attempts"]}
        return asked | {sent.origin} | {name for name, _ in self.journal[sent.request_id]}

    def _events(self, sent: Sent, what: str) -> list[tuple[str, dict[str, Any]]]:
        return [each for each in self.journal[sent.request_id] if each[1]["what"] == what]

    def _evidence(self, sent: Sent) -> list[str]:
        lines = [f"access log: {json.dumps(line)}" for line in self.log[sent.request_id]]
        lines += [f"journal of {name}: {line}" for name, line in self.journal[sent.request_id]]
        for server in self.servers:
            lines += [
                f"{server.name}: {one.kind} from {one.began_at - sent.began_at:+.2f} s to "
                f"{one.ended_at - sent.began_at:+.2f} s"
                for one in server.faults
                if one.touches(sent.began_at, sent.ended_at)
            ]
        return lines

    def complaints(self) -> list[str]:
        """Lines of the daemon's at warning or above, but for those about what we broke."""
        grave = [line for line in self.other_lines if line["level"] in {"warning", "error"}]
        return [json.dumps(line) for line in grave if line["message"] not in OF_OURS]

    def excused(self) -> Iterator[Violation]:
        """What failed and was allowed to, for whoever doubts the excuse."""
        for sent in self.sent:
            if sent.has_failed and (why := self.excuse(sent)):
                yield Violation(why, sent, self._evidence(sent))

    # --- figures -----------------------------------------------------------------------------

    def kinds(self) -> list[str]:
        """Of clients, in the order of their names."""
        return sorted({sent.client for sent in self.sent})

    def ends(self, client: str) -> Counter[Ended]:
        """How one kind of client fared."""
        return Counter(sent.ended for sent in self.sent if sent.client == client)

    def executed(self) -> int:
        """By all servers together."""
        return sum(line["what"] == "done" for each in self.journal.values() for _, line in each)

    def resent(self) -> int:
        """Requests that took more than one attempt."""
        lines = (line for lines in self.log.values() for line in lines)
        return sum(len(line["attempts"]) > 1 for line in lines)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
