"""Chunked content: every rule by its own case, every split alike, and h11 as the judge."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haclient.core.chunked import (
    MAX_EXTENSION_BYTES,
    MAX_TRAILER_BYTES,
    MAX_TRAILERS,
    Chunked,
)
from haclient.types import Fields


@dataclass
class Outcome:
    """All that was said of some bytes."""

    content: bytes
    error: str
    is_endless: bool
    is_whole: bool
    trailers: Fields
    rest: bytes


def read(pieces: Iterable[bytes]) -> Outcome:
    """Until an end or an error; what is behind either belongs to the rest, as a caller has it."""
    chunked, content, rest = Chunked(), b"", b""
    for piece in pieces:
        if chunked.is_whole or chunked.error:
            rest += piece
        else:
            content += chunked.feed(piece)
    error, whole = chunked.error, chunked.is_whole
    rest = chunked.rest + rest if whole else b""
    return Outcome(content, error, chunked.is_endless, whole, chunked.trailers, rest)


def read_every_way(wire: bytes) -> Outcome:
    """At once and byte by byte; they must agree."""
    outcome = read([wire])
    assert read([wire[at : at + 1] for at in range(len(wire))]) == outcome
    return outcome


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        pytest.param(b"0\r\n\r\n", b"", id="none"),
        pytest.param(b"5\r\nhello\r\n0\r\n\r\n", b"hello", id="one"),
        pytest.param(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", id="two"),
        pytest.param(b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", id="a CRLF as data"),
        pytest.param(b"00a\r\n0123456789\r\n000\r\n\r\n", b"0123456789", id="leading zeros"),
        pytest.param(b"B\r\n01234567890\r\n0\r\n\r\n", b"01234567890", id="a capital digit"),
        pytest.param(b"0" * 15 + b"1\r\nx\r\n0\r\n\r\n", b"x", id="sixteen digits"),
        pytest.param(b"0" * 16 + b"\r\n\r\n", b"", id="sixteen zeros"),
    ],
)
def test_well_formed_content(wire: bytes, content: bytes) -> None:
    assert read_every_way(wire) == Outcome(content, "", False, True, (), b"")


@pytest.mark.parametrize(
    "extension",
    [
        b";a",
        b";a=b",
        b';a="b"',
        b';a=""',
        b';a="; \\" \\\\ \t\xff"',
        b";a;b=c;d",
        b" ; a = b\t;\tc",
        b";!#$%&'*+.^_`|~-9z",
        b";a=" + b"x" * (MAX_EXTENSION_BYTES - 3),
    ],
)
@pytest.mark.parametrize("size", [b"1", b"0"])
def test_well_formed_extensions_are_dropped(extension: bytes, size: bytes) -> None:
    behind = b"x\r\n0\r\n\r\n" if size == b"1" else b"\r\n"
    outcome = read_every_way(size + extension + b"\r\n" + behind)
    assert outcome == Outcome(b"x" if size == b"1" else b"", "", False, True, (), b"")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" 1",
        b"1 ",
        b"1\t",
        b"g",
        b"-1",
        b"+1",
        b"0x1",
        b"1_0",
        b"1.",
        b"\xd9\xa1",  # ARABIC-INDIC DIGIT ONE
        b"0" * 17,
        b"f" * 17,
        b"1;",
        b"1; ",
        b"1;;a",
        b"1;a=",
        b"1;a=b c",
        b'1;a="b',
        b'1;a="b"c',
        b'1;a="\\',
        b"1;a\x00",
        b"1;a=\x7f",
        b'1;a="\x01"',
        b'1;a="\\\x01"',
        b"1,a",
        b"1 a",
    ],
)
def test_what_is_no_size(line: bytes) -> None:
    outcome = read_every_way(line + b"\r\nx\r\n0\r\n\r\n")
    assert outcome.error == f"{line[:40]!r} is no chunk size (RFC 9112, section 7.1)"
    assert (outcome.content, outcome.is_whole) == (b"", False)


@pytest.mark.parametrize(
    "wire",
    [
        b"1\nx\r\n0\r\n\r\n",
        b"1\rx\r\n0\r\n\r\n",
        b"1\r\rx",
        b"1;a\nx",
        b"1;a\rb\r\nx\r\n0\r\n\r\n",
        b"\r0\r\n\r\n",
        b"\n0\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
        b"0\r\nX-A: 1\n\r\n",
        b"0\r\nX-A: 1\rX-B: 2\r\n\r\n",
        b"0\r\n\rX",
    ],
)
def test_lines_end_in_crlf_and_nothing_else(wire: bytes) -> None:
    outcome = read_every_way(wire)
    assert outcome == Outcome(
        b"", "a line in chunked content that does not end in CRLF", False, False, (), b""
    )


@pytest.mark.parametrize("behind", [b"\n0\r\n\r\n", b"\rx", b"\r\rx", b"x\r\n", b"0\r\n\r\n", b" "])
def test_behind_data_stands_crlf(behind: bytes) -> None:
    outcome = read_every_way(b"5\r\nhello" + behind)
    assert outcome.error == "a chunk is longer than it says (RFC 9112, section 7.1)"
    assert (outcome.content, outcome.is_whole) == (b"hello", False)


def test_content_before_an_error_is_content() -> None:
    assert read_every_way(b"5\r\nhello\r\n6\r\n world\r\nx\r\n").content == b"hello world"


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"5",
        b"5\r",
        b"5\r\n",
        b"5\r\nhell",
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n0",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhello\r\n0\r\n\r",
        b"5\r\nhello\r\n0\r\nX-A: 1\r\n",
        b"f" * 16 + b"\r\nhello",
    ],
)
def test_what_is_not_whole(wire: bytes) -> None:
    outcome = read_every_way(wire)
    assert (outcome.error, outcome.is_whole) == ("", False)
    assert outcome.content in b"hello"
    assert outcome.trailers == ()


def test_what_comes_behind() -> None:
    next_request = b"GET / HTTP/1.1\r\n\r\n"
    assert read_every_way(b"1\r\nx\r\n0\r\n\r\n" + next_request).rest == next_request
    assert read_every_way(b"0\r\nX-A: 1\r\n\r\n" + next_request).rest == next_request


def test_it_says_what_it_waits_for() -> None:
    chunked = Chunked()
    told = [repr(chunked)]
    for piece in (b"1", b"\r\n", b"x", b"\r\n0\r\n", b"\r\n"):
        chunked.feed(piece)
        told.append(repr(chunked))
    assert told == [
        "<Chunked, the line with a chunk's size is next>",
        "<Chunked, the line with a chunk's size is next>",
        "<Chunked, a chunk's data is next>",
        "<Chunked, the CRLF behind a chunk's data is next>",
        "<Chunked, a line of the trailer section is next>",
        "<Chunked, no part of this message is next>",
    ]
    broken = Chunked()
    broken.feed(b"x\r\n")
    assert "is no chunk size" in repr(broken)


# --- trailers -------------------------------------------------------------------------------------


def test_trailers_keep_order_and_letter_case() -> None:
    outcome = read_every_way(b"0\r\nX-B:  1\t \r\nx-a:\r\nX-B:a b\xff\r\nx-c: \t\r\n\r\n")
    assert outcome.trailers == (
        (b"X-B", b"1"),
        (b"x-a", b""),
        (b"X-B", b"a b\xff"),
        (b"x-c", b""),
    )
    assert outcome.is_whole


@pytest.mark.parametrize(
    "line",
    [
        b"no colon",
        b": no name",
        b"X-A : 1",
        b" X-A: 1",
        b"\tX-A: 1",
        b"X A: 1",
        b"X-A: \x00",
        b"X-A: a\x01b",
        b"X-A: \x7f",
        b"X-\xff: 1",
    ],
)
def test_what_is_no_trailer_field(line: bytes) -> None:
    outcome = read_every_way(b"0\r\nX-B: 1\r\n" + line + b"\r\n\r\n")
    assert outcome.error == f"{line!r} is no trailer field (RFC 9112, section 7.1.2)"
    assert (outcome.trailers, outcome.is_whole) == ((), False)


def test_a_folded_trailer_is_refused() -> None:
    assert "no trailer field" in read_every_way(b"0\r\nX-A: 1\r\n 2\r\n\r\n").error


# --- bounds ---------------------------------------------------------------------------------------


def test_extensions_are_bounded_in_all() -> None:
    each = b"1;" + b"a" * 1023 + b"\r\nx\r\n"
    most = MAX_EXTENSION_BYTES // 1024
    assert read_every_way(each * most + b"0\r\n\r\n").is_whole
    outcome = read_every_way(each * most + b"0;a\r\n\r\n")
    assert outcome.error == f"more than {MAX_EXTENSION_BYTES} bytes of chunk extensions"
    assert outcome.is_endless
    assert outcome.content == b"x" * most


@pytest.mark.parametrize("start", [b"1;", b"1;a=", b'1;a="', b"1 ", b"1" * 17, b" ", b""])
def test_a_size_without_an_end_is_refused_while_it_is_small(start: bytes) -> None:
    chunked = Chunked()
    taken = 0
    for piece in (start, *itertools.repeat(b"a" * 100, 1000)):
        taken += len(piece)
        chunked.feed(piece)
        if chunked.error:
            break
    assert (chunked.error, chunked.is_endless) == ("too many bytes of chunk extensions", True)
    assert taken < MAX_EXTENSION_BYTES + 200


def test_trailers_are_bounded_in_all() -> None:
    line = b"X: " + b"a" * 507 + b"\r\n"
    most = MAX_TRAILER_BYTES // len(line) - 1
    fits = b"0\r\n" + line * most
    left = MAX_TRAILER_BYTES - len(line) * most - 2
    assert read_every_way(fits + b"Y:" + b"a" * (left - 4) + b"\r\n\r\n").is_whole
    for more in (left - 3, left - 2, left, 3 * left):
        outcome = read_every_way(fits + b"Y:" + b"a" * more + b"\r\n\r\n")
        assert (outcome.error, outcome.is_endless) == ("too many bytes of trailers", True)
        assert outcome.trailers == ()


def test_trailer_fields_are_bounded() -> None:
    fields = b"0\r\n" + b"a:b\r\n" * MAX_TRAILERS
    assert len(read_every_way(fields + b"\r\n").trailers) == MAX_TRAILERS
    assert (
        read_every_way(fields + b"a:b\r\n\r\n").error == f"more than {MAX_TRAILERS} trailer fields"
    )


@pytest.mark.parametrize("start", [b"1;" + b"\t" * 16000, b"0\r\nX:" + b" " * 16000])
def test_no_line_takes_long(start: bytes) -> None:
    """A pattern that goes back and forth in a run of blanks would take a second and more here."""
    before = time.process_time()
    assert read([start + b"\x00\r\n\r\n"]).error
    assert time.process_time() - before < 0.2


# --- any bytes, cut anywhere; h11 -----------------------------------------------------------------

PARTS = st.sampled_from(
    [
        b"5\r\nhello\r\n",
        b"1\r\nx\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"10;a=b\r\n0123456789abcdef\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"5",
        b";a",
        b'="',
        b" ",
        b"\t",
        b"X-A: 1\r\n",
        b":",
        b"\x00",
        b"a:b\r\n" * MAX_TRAILERS,
        b"a" * MAX_TRAILER_BYTES,
        b"f" * 15,
    ]
)
WIRES = st.lists(PARTS | st.binary(max_size=4), max_size=8).map(b"".join)


@given(wire=WIRES, points=st.lists(st.integers(0, 40_000), max_size=8))
@example(wire=b"5\r\nhello\r\n0\r\n\r\nGET", points=[1, 2, 8, 9])
def test_what_is_said_depends_on_the_bytes_alone(wire: bytes, points: list[int]) -> None:
    at = sorted({point % (len(wire) + 1) for point in points} | {0, len(wire)})
    pieces = [wire[start:end] for start, end in itertools.pairwise(at)]
    assert read(pieces) == read([wire])


def as_h11_reads(wire: bytes) -> Outcome:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    client.next_event()
    content = b""
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError as exc:
            return Outcome(content, str(exc), False, False, (), b"")
        if isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            trailers = tuple(event.headers.raw_items())
            return Outcome(content, "", False, True, trailers, client.trailing_data[0])
        else:
            return Outcome(content, "", False, False, (), b"")


# Before ";" h11 takes no blank, though the grammar has one there.
FOR_H11 = WIRES.filter(lambda wire: b" ;" not in wire and b"\t;" not in wire)


@given(wire=FOR_H11)
@example(wire=b"0\r\nX-A: 1\r\n")
@example(wire=b"5\r\nhello\r\n0;a\r\nX-A: \t1\r\n\r\nGET")
def test_what_is_taken_h11_takes_alike(wire: bytes) -> None:
    ours = read([wire])
    if ours.error:
        return
    assert as_h11_reads(wire) == ours
