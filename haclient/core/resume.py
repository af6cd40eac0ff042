"""A GET whose answer broke off goes on from another server: whether it may, and how.

The naive answer asks the next server for `Range: bytes=N-` and appends what comes. If the file
changed in between, or that server has another version, compresses, counts from elsewhere or sends
several parts, the client gets a mixture that looks whole. The validator is what makes it safe: with
the same strong ETag two representations are equal byte by byte (RFC 9110, section 8.8.1), so
without one nothing is resumed, and every answer must bear it again.

    plan      judges the first answer, before it breaks: whether it could be resumed
    fields    the second request: Range for the rest, If-Range with the ETag (13.1.5, 14.2)
    judge     the second answer: GoOn, with what of it to drop and to take, or Refuse

A 206 goes on if its Content-Range starts where the first answer ended and ends where that one would
have (15.3.7); a 200 with the same ETag does too, its first part being dropped. The first answer may
itself be a 206, for a range that the client asked for. Refused is everything else: then the client
sees a broken transfer. Offsets are of the representation; `received` counts the bytes of content
that the client was given.

Left out: weak validators and Last-Modified, which promise no equal bytes (section 8.8.2); content
codings, which servers apply anew for each answer under one ETag though they must not; several
ranges at once; methods other than GET.
"""

from __future__ import annotations

import re

import msgspec

from haclient.core.framing import LENGTH
from haclient.types import Fields

__all__ = ["GoOn", "Refuse", "ResumePlan", "plan", "why_no_plan"]

OK, PARTIAL_CONTENT = 200, 206
"""RFC 9110, sections 15.3.1 and 15.3.7."""

CONDITIONAL = frozenset(
    {
        b"range",
        b"if-range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
    }
)
"""The client's own have been answered; on the second request they would say something else."""

_STRONG = re.compile(rb'"[!#-~\x80-\xff]*"')
_CONTENT_RANGE = re.compile(rb"bytes (%b)-(%b)/(%b|\*)" % (LENGTH, LENGTH, LENGTH), re.IGNORECASE)
_LENGTH = re.compile(LENGTH)


class GoOn(msgspec.Struct, frozen=True):
    """The second answer is the rest of the first.

    Attributes:
        skip: bytes of its content to drop; the client has them.
        take: bytes after those that are owed, no more and no less; None where that is not known,
            and the answer's own framing says where its end is.
    """

    skip: int
    take: int | None


class Refuse(msgspec.Struct, frozen=True):
    """The second answer is not the rest of the first, or cannot be proved to be."""

    reason: str


class ResumePlan(msgspec.Struct, frozen=True):
    """What an answer was, as far as another one can go on with it.

    Attributes:
        etag: strong, in its quotes.
        first: the offset at which the answer's content begins: 0 for a 200.
        last: the offset of its last byte, for a 206; None for a 200.
        total: the representation's length, where it was told.
    """

    etag: bytes
    first: int
    last: int | None
    total: int | None

    @property
    def end(self) -> int | None:
        """The offset behind the answer's last byte, where it was told."""
        return self.last + 1 if self.last is not None else self.total

    def remaining(self, received: int) -> int | None:
        """Bytes that are owed yet: with 0 nothing need be asked; None where it is not known."""
        return None if self.end is None else max(0, self.end - self.first - received)

    def fields(self, request_fields: Fields, received: int) -> Fields:
        """The fields of a request for the rest: those of the first one, conditions replaced."""
        kept = tuple(field for field in request_fields if field[0].lower() not in CONDITIONAL)
        last = b"" if self.last is None else b"%d" % self.last
        value = b"bytes=%d-%b" % (self.first + received, last)
        return (*kept, (b"Range", value), (b"If-Range", self.etag))

    def judge(self, received: int, status: int, response_fields: Fields) -> GoOn | Refuse:
        """Whether an answer to that request is the rest."""
        answer = _read(status, response_fields)
        if isinstance(answer, Refuse):
            return answer
        if answer.etag != self.etag:
            return Refuse("another ETag: the representation is another one")
        if self.total is not None and answer.total is not None and answer.total != self.total:
            return Refuse(f"a representation of {answer.total} bytes, not {self.total}")
        start = self.first + received
        if status == PARTIAL_CONTENT:
            return self._judge_part(start, answer)
        end = self.end if self.end is not None else answer.total
        if answer.total is not None and (start > answer.total or (end or 0) > answer.total):
            return Refuse(f"a representation of {answer.total} bytes, too short for the rest")
        return GoOn(start, None if end is None else max(0, end - start))

    def _judge_part(self, start: int, answer: ResumePlan) -> GoOn | Refuse:
        assert answer.last is not None
        if answer.first != start:
            return Refuse(f"a part from {answer.first} on, not from {start}")
        end = self.end if self.end is not None else answer.total
        if end is None:
            return Refuse("a part of a representation whose length nobody tells")
        if answer.last + 1 != end:
            return Refuse(f"a part up to {answer.last}, not up to {end - 1}")
        return GoOn(0, end - start)


def plan(
    method: str, request_fields: Fields, status: int, response_fields: Fields
) -> ResumePlan | None:
    """What is needed to go on with this answer should it break off; None if nothing can."""
    if method != "GET" or status not in {OK, PARTIAL_CONTENT}:
        return None
    if b"," in _value(request_fields, b"range"):
        return None
    found = _read(status, response_fields)
    return found if isinstance(found, ResumePlan) else None


def why_no_plan(status: int, response_fields: Fields) -> str:
    """What an answer to GET lacks to be gone on with; empty where it lacks nothing."""
    found = _read(status, response_fields)
    return found.reason if isinstance(found, Refuse) else ""


def _read(status: int, fields: Fields) -> ResumePlan | Refuse:
    """What an answer says of its content."""
    if status not in {OK, PARTIAL_CONTENT}:
        return Refuse(f"status {status}")
    etag = _value(fields, b"etag")
    if _STRONG.fullmatch(etag) is None:
        return Refuse("no strong ETag, or more than one")
    if _value(fields, b"content-encoding").lower() not in {b"", b"identity"}:
        return Refuse("a content coding")
    length = b"" if _value(fields, b"transfer-encoding") else _value(fields, b"content-length")
    if length and _LENGTH.fullmatch(length) is None:
        return Refuse("a Content-Length that is none")
    counted = int(length) if length else None
    if status == OK:
        return ResumePlan(etag, 0, None, counted)
    return _part(etag, fields, counted)


def _part(etag: bytes, fields: Fields, counted: int | None) -> ResumePlan | Refuse:
    found = _CONTENT_RANGE.fullmatch(_value(fields, b"content-range"))
    if found is None or _value(fields, b"content-type").lower().startswith(b"multipart/byteranges"):
        return Refuse("no single Content-Range, in bytes")
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == b"*" else int(found[3])
    if first > last or (total is not None and last >= total):
        return Refuse(f"a Content-Range that cannot be: {found[0].decode()}")
    if counted is not None and counted != last - first + 1:
        return Refuse("a Content-Length that is not that of its Content-Range")
    return ResumePlan(etag, first, last, total)


def _value(fields: Fields, wanted: bytes) -> bytes:
    """All values of that name, put together; empty where there is none."""
    return b", ".join([value for name, value in fields if name.lower() == wanted])
