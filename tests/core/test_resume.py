"""Resume: what can be, what is asked for, and which second answers are the rest of the first.

The properties play it through: a content, a place where it breaks, and a server that is honest or
lies in one way. What the client holds in the end is the original, or a transfer that it sees broken.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from haclient.core.resume import GoOn, Refuse, ResumePlan, plan, why_no_plan
from haclient.types import Fields

ETAG, CL, CR = (b"ETag", b'"a"'), b"Content-Length", b"Content-Range"
TOTAL = ((CL, b"100"), ETAG)
PART = ((CR, b"bytes 10-19/100"), ETAG)


# Plans


@pytest.mark.parametrize(
    ("status", "fields", "first", "last", "total"),
    [
        pytest.param(200, TOTAL, 0, None, 100, id="a whole, counted"),
        pytest.param(200, (ETAG,), 0, None, None, id="a whole, its length not told"),
        pytest.param(
            200, (ETAG, (b"Transfer-Encoding", b"chunked"), (CL, b"x")), 0, None, None, id="chunked"
        ),
        pytest.param(
            200, (*TOTAL, (b"content-encoding", b"Identity")), 0, None, 100, id="identity"
        ),
        pytest.param(206, PART, 10, 19, 100, id="a part"),
        pytest.param(206, (*PART, (CL, b"10")), 10, 19, 100, id="a part, counted"),
        pytest.param(
            206, ((b"content-range", b"Bytes 10-19/*"), ETAG), 10, 19, None, id="a part of what?"
        ),
    ],
)
def test_what_can_be_resumed(
    status: int, fields: Fields, first: int, last: int | None, total: int | None
) -> None:
    assert plan("GET", (), status, fields) == ResumePlan(b'"a"', first, last, total)


@pytest.mark.parametrize(
    ("method", "request_fields", "status", "fields"),
    [
        pytest.param("HEAD", (), 200, TOTAL, id="HEAD"),
        pytest.param("POST", (), 200, TOTAL, id="POST"),
        pytest.param("GET", (), 203, TOTAL, id="another status"),
        pytest.param("GET", (), 200, TOTAL[:1], id="no ETag"),
        pytest.param("GET", (), 200, ((b"ETag", b'W/"a"'),), id="a weak ETag"),
        pytest.param("GET", (), 200, ((b"ETag", b"a"),), id="an ETag without quotes"),
        pytest.param("GET", (), 200, (ETAG, ETAG), id="two ETags"),
        pytest.param("GET", (), 200, (*TOTAL, (b"Content-Encoding", b"gzip")), id="a coding"),
        pytest.param("GET", (), 200, (ETAG, (CL, b"+1")), id="a length that is none"),
        pytest.param("GET", (), 206, (ETAG,), id="no Content-Range"),
        pytest.param("GET", (), 206, (*PART, PART[0]), id="two Content-Ranges"),
        pytest.param("GET", (), 206, (ETAG, (CR, b"lines 1-2/3")), id="another unit"),
        pytest.param("GET", (), 206, (ETAG, (CR, b"bytes */100")), id="an unsatisfied range"),
        pytest.param("GET", (), 206, (ETAG, (CR, b"bytes 9-8/100")), id="last before first"),
        pytest.param("GET", (), 206, (ETAG, (CR, b"bytes 9-100/100")), id="last beyond the end"),
        pytest.param("GET", (), 206, (*PART, (CL, b"11")), id="a length that does not fit"),
        pytest.param(
            "GET",
            (),
            206,
            (*PART, (b"Content-Type", b"Multipart/Byteranges; boundary=x")),
            id="several parts",
        ),
        pytest.param("GET", ((b"Range", b"bytes=0-1,5-6"),), 200, TOTAL, id="several ranges"),
    ],
)
def test_what_cannot(method: str, request_fields: Fields, status: int, fields: Fields) -> None:
    assert plan(method, request_fields, status, fields) is None


def planned(status: int, fields: Fields) -> ResumePlan:
    found = plan("GET", (), status, fields)
    assert found is not None
    return found


def test_what_is_owed_yet() -> None:
    assert [planned(200, TOTAL).remaining(n) for n in (0, 99, 100, 101)] == [100, 1, 0, 0]
    assert [planned(206, PART).remaining(n) for n in (0, 9, 10)] == [10, 1, 0]
    assert planned(200, (ETAG,)).remaining(5) is None


def test_the_second_request() -> None:
    x, y = (b"X", b"1"), (b"Accept", b"*/*")
    request = (
        x,
        (b"rAnge", b"bytes=10-19"),
        (b"If-Range", b'"a"'),
        (b"If-Match", b'"a"'),
        (b"If-None-Match", b'"b"'),
        (b"If-Modified-Since", b"Sat, 29 Oct 1994 19:43:31 GMT"),
        (b"If-Unmodified-Since", b"Sat, 29 Oct 1994 19:43:31 GMT"),
        y,
    )
    condition = (b"If-Range", b'"a"')
    whole, part = planned(200, TOTAL), planned(206, PART)
    assert whole.fields(request, 40) == (x, y, (b"Range", b"bytes=40-"), condition)
    assert part.fields(request, 4) == (x, y, (b"Range", b"bytes=14-19"), condition)


# Second answers


def part(content_range: bytes, *fields: tuple[bytes, bytes]) -> Fields:
    return ((CR, content_range), ETAG, *fields)


@pytest.mark.parametrize(
    ("first", "status", "fields", "go_on"),
    [
        pytest.param((200, TOTAL), 206, part(b"bytes 4-99/100"), GoOn(0, 96), id="the rest"),
        pytest.param((200, TOTAL), 206, part(b"bytes 4-99/*"), GoOn(0, 96), id="the rest of what?"),
        pytest.param(
            (200, (ETAG,)), 206, part(b"bytes 4-99/100"), GoOn(0, 96), id="length is news"
        ),
        pytest.param((200, TOTAL), 200, TOTAL, GoOn(4, 96), id="all of it again"),
        pytest.param((200, TOTAL), 200, (ETAG,), GoOn(4, 96), id="all, length not told"),
        pytest.param((200, (ETAG,)), 200, TOTAL, GoOn(4, 96), id="all, length is news"),
        pytest.param((200, (ETAG,)), 200, (ETAG,), GoOn(4, None), id="all, length never told"),
        pytest.param((200, (ETAG,)), 200, (ETAG, (CL, b"4")), GoOn(4, 0), id="it was all there"),
        pytest.param((206, PART), 206, part(b"bytes 14-19/100"), GoOn(0, 6), id="rest of a part"),
        pytest.param(
            (206, part(b"bytes 10-19/*")),
            206,
            part(b"bytes 14-19/77"),
            GoOn(0, 6),
            id="total is news",
        ),
        pytest.param((206, PART), 200, TOTAL, GoOn(14, 6), id="all in place of a part"),
        pytest.param((206, PART), 200, (ETAG,), GoOn(14, 6), id="all, length not told, for a part"),
        pytest.param(
            (206, part(b"bytes 10-19/*")), 200, TOTAL, GoOn(14, 6), id="all, length is news, part"
        ),
    ],
)
def test_what_is_the_rest(
    first: tuple[int, Fields], status: int, fields: Fields, go_on: GoOn
) -> None:
    assert planned(*first).judge(4, status, fields) == go_on


@pytest.mark.parametrize(
    ("first", "status", "fields", "words"),
    [
        pytest.param((200, TOTAL), 206, part(b"bytes 5-99/100"), "from 5 on", id="a gap"),
        pytest.param((200, TOTAL), 206, part(b"bytes 3-99/100"), "from 3 on", id="an overlap"),
        pytest.param(
            (200, TOTAL),
            206,
            part(b"bytes 4-98/100"),
            "up to 98, not up to 99",
            id="not to the end",
        ),
        pytest.param((200, TOTAL), 206, part(b"bytes 4-100/101"), "101 bytes", id="another length"),
        pytest.param((200, TOTAL), 206, part(b"bytes 4-100/*"), "up to 100", id="too far"),
        pytest.param((200, (ETAG,)), 206, part(b"bytes 4-9/*"), "nobody tells", id="no end told"),
        pytest.param((200, (ETAG,)), 206, part(b"bytes 4-9/11"), "up to 9", id="short of the end"),
        pytest.param((206, PART), 206, part(b"bytes 14-99/100"), "up to 99", id="past the part"),
        pytest.param((200, TOTAL), 206, TOTAL, "no single", id="no Content-Range"),
        pytest.param(
            (200, TOTAL),
            206,
            part(b"bytes 4-99/100", (b"Content-Type", b"multipart/byteranges")),
            "no single",
            id="several parts",
        ),
        pytest.param((200, TOTAL), 206, part(b"bytes 4-99/100")[:1], "no strong", id="no ETag"),
        pytest.param(
            (200, TOTAL), 206, ((CR, b"bytes 4-99/100"), (b"ETag", b'W/"a"')), "strong", id="weak"
        ),
        pytest.param(
            (200, TOTAL), 206, ((CR, b"bytes 4-99/100"), (b"ETag", b'"b"')), "another", id="another"
        ),
        pytest.param(
            (200, TOTAL),
            206,
            part(b"bytes 4-99/100", (b"Content-Encoding", b"gzip")),
            "coding",
            id="coded",
        ),
        pytest.param(
            (200, TOTAL), 206, part(b"bytes 4-99/100", (CL, b"95")), "not that", id="two lengths"
        ),
        pytest.param((200, TOTAL), 200, (ETAG, (CL, b"99")), "99 bytes", id="a shorter one"),
        pytest.param((200, TOTAL), 200, (ETAG, (CL, b"101")), "101 bytes", id="a longer one"),
        pytest.param((200, TOTAL), 200, ((b"ETag", b'"b"'),), "another", id="all, another"),
        pytest.param((200, TOTAL), 200, (), "strong", id="all, no ETag"),
        pytest.param((200, (ETAG,)), 200, (ETAG, (CL, b"3")), "too short", id="less than was had"),
        pytest.param(
            (206, part(b"bytes 10-19/*")), 200, (ETAG, (CL, b"19")), "too short", id="part cut"
        ),
        pytest.param((200, TOTAL), 416, ((CR, b"bytes */100"), ETAG), "status 416", id="416"),
        pytest.param((200, TOTAL), 304, (ETAG,), "status 304", id="304"),
        pytest.param((200, TOTAL), 503, (ETAG,), "status 503", id="503"),
    ],
)
def test_what_is_not(first: tuple[int, Fields], status: int, fields: Fields, words: str) -> None:
    judged = planned(*first).judge(4, status, fields)
    assert isinstance(judged, Refuse)
    assert words in judged.reason


# Played through


class Server(msgspec.Struct):
    """Answers GETs of one representation; what it tells is a matter of its manners."""

    content: bytes
    tells_length: bool = True
    knows_ranges: bool = True
    etag: bytes = b'"a"'

    def answer(self, request: Fields) -> tuple[int, Fields, bytes]:
        asked = dict(request)
        is_current = asked.get(b"If-Range", self.etag) == self.etag
        if b"Range" not in asked or not self.knows_ranges or not is_current:
            length = ((CL, b"%d" % len(self.content)),) if self.tells_length else ()
            return 200, ((b"ETag", self.etag), *length), self.content
        low, _, high = asked[b"Range"].removeprefix(b"bytes=").partition(b"-")
        first, last = int(low), min(int(high or 10**6), len(self.content) - 1)
        if first > last:
            return 416, ((b"ETag", self.etag), (CR, b"bytes */%d" % len(self.content))), b""
        total = b"%d" % len(self.content) if self.tells_length else b"*"
        content_range = b"bytes %d-%d/%b" % (first, last, total)
        return 206, ((b"ETag", self.etag), (CR, content_range)), self.content[first : last + 1]


def spliced(
    request: Fields, first: tuple[int, Fields, bytes], cut: int, second: Server | Liar
) -> bytes | None:
    """What the client holds after a break at `cut`; None where it saw a broken transfer."""
    status, fields, content = first
    found = plan("GET", request, status, fields)
    assert found is not None
    held = content[:cut]
    if found.remaining(len(held)) == 0:
        return held
    status, fields, content = second.answer(found.fields(request, len(held)))
    judged = found.judge(len(held), status, fields)
    if isinstance(judged, Refuse):
        return None
    rest = content[judged.skip :]
    if judged.take is not None:
        # The caller holds the second server to what is owed.
        if len(rest) < judged.take:
            return None
        rest = rest[: judged.take]
    return held + rest


CONTENT = st.binary(min_size=1, max_size=40)
ranges = st.one_of(
    st.none(), st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 45)))
)


def asked_for(wanted: tuple[int, int | None] | None, content: bytes) -> Fields:
    if wanted is None:
        return ()
    first, last = wanted
    assume(first < len(content) and (last is None or first <= last))
    return ((b"Range", b"bytes=%d-%b" % (first, b"" if last is None else b"%d" % last)),)


@given(
    content=CONTENT,
    wanted=ranges,
    cut=st.integers(0, 40),
    tells=st.tuples(st.booleans(), st.booleans()),
    knows=st.tuples(st.booleans(), st.booleans()),
)
def test_an_honest_server_completes_the_content(
    content: bytes,
    wanted: tuple[int, int | None] | None,
    cut: int,
    tells: tuple[bool, bool],
    knows: tuple[bool, bool],
) -> None:
    request = asked_for(wanted, content)
    first = Server(content, tells[0], knows[0]).answer(request)
    whole = first[2]
    cut = min(cut, len(whole))
    result = spliced(request, first, cut, Server(content, tells[1], knows[1]))
    is_end_told = tells[0] or first[0] == 206 or tells[1] or not knows[1]
    if result is None:
        # Neither server told where the end is, or all was there and nobody could know.
        assert not is_end_told or (cut == len(whole) and not tells[0])
    else:
        assert result == whole


class Liar(msgspec.Struct):
    """An honest server's answer, changed in one way; its bytes are another content's."""

    honest: Server
    lie: str
    by: int

    def answer(self, request: Fields) -> tuple[int, Fields, bytes]:
        status, fields, content = self.honest.answer(request)
        told = dict(fields)
        junk = bytes(byte ^ 0xFF for byte in content)
        match self.lie:
            case "another version":
                told[b"ETag"] = b'"b"'
            case "weak":
                told[b"ETag"] = b"W/" + told[b"ETag"]
            case "no ETag":
                del told[b"ETag"]
            case "coded":
                told[b"Content-Encoding"] = b"gzip"
            case "status":
                status = 203
            case "parts":
                told[b"Content-Type"] = b"multipart/byteranges; boundary=x"
                status = 206
            case "shifted":
                low, _, high = dict(request)[b"Range"].removeprefix(b"bytes=").partition(b"-")
                total = len(self.honest.content)
                last = min(int(high or total), total - 1)
                status, told[CR] = 206, b"bytes %d-%d/%d" % (int(low) + self.by, last, total)
            case "short":
                # It says what it should, and breaks off itself.
                return status, fields, content[: max(0, len(content) - abs(self.by))]
        return status, tuple(told.items()), junk


@given(
    content=CONTENT,
    wanted=ranges,
    cut=st.integers(0, 40),
    tells=st.tuples(st.booleans(), st.booleans()),
    knows=st.booleans(),
    lie=st.sampled_from(
        ["another version", "weak", "no ETag", "coded", "status", "parts", "shifted", "short"]
    ),
    by=st.integers(-5, 5).filter(bool),
)
def test_a_lying_server_completes_nothing(
    content: bytes,
    wanted: tuple[int, int | None] | None,
    cut: int,
    tells: tuple[bool, bool],
    knows: bool,
    lie: str,
    by: int,
) -> None:
    request = asked_for(wanted, content)
    first = Server(content, tells[0]).answer(request)
    assume(lie != "short" or tells[0] or tells[1])  # else only the framing could tell
    liar = Liar(Server(content, tells[1], knows), lie, by)
    result = spliced(request, first, min(cut, len(first[2])), liar)
    assert result is None or result == first[2]


def test_why_no_plan() -> None:
    etag, weak = (b"ETag", b'"1"'), (b"ETag", b'W/"1"')
    assert why_no_plan(200, (etag,)) == ""
    assert why_no_plan(200, (weak,)) == why_no_plan(200, ()) == "no strong ETag, or more than one"
    assert why_no_plan(200, (etag, (b"Content-Encoding", b"gzip"))) == "a content coding"
