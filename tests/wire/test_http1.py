"""Responses as they come: at once, byte by byte, with something behind them, and interrupted.

What is read may depend on the bytes alone, never on how the network cut them into pieces or on when
the watch had news. test_http1_judged.py holds the same against other readers.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from haclient.core.framing import write_request_head
from haclient.net.http1 import (
    MAX_HEAD_BYTES,
    MAX_INTERIM_HEADS,
    RECEIVE_BYTES,
    ConnectionLost,
    Garbled,
    Http1,
)
from haclient.types import Fields
from tests.support.pieces import (
    NEWS,
    Pieces,
    Reading,
    byte_by_byte,
    interruptible,
    read,
    read_every_way,
)

OK = b"HTTP/1.1 200 OK\r\n"
COUNTED = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Whole:
    """A response that ends where it says."""

    wire: bytes
    content: bytes = b""
    statuses: tuple[int, ...] = (200,)
    method: str = "GET"
    trailers: Fields = ()
    is_persistent: bool = True


WHOLE = {
    "counted content": Whole(COUNTED, b"hello"),
    "no content": Whole(OK + b"Content-Length: 0\r\n\r\n"),
    "chunked content": Whole(CHUNKED, b"hello world"),
    "chunked content with trailers": Whole(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nDigest: x\r\nAge:  7 \r\n\r\n",
        b"hello",
        trailers=((b"Digest", b"x"), (b"Age", b"7")),
    ),
    "no chunk": Whole(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "the answer to HEAD, its length that of GET": Whole(
        OK + b"Content-Length: 5\r\n\r\n", method="HEAD"
    ),
    "the answer to HEAD, chunked": Whole(OK + b"Transfer-Encoding: chunked\r\n\r\n", method="HEAD"),
    "204": Whole(b"HTTP/1.1 204 No Content\r\n\r\n", statuses=(204,)),
    "304 with the length of what it stands for": Whole(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", statuses=(304,)
    ),
    "interim heads before the final one": Whole(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + COUNTED,
        b"hello",
        statuses=(100, 103, 200),
    ),
    "32 interim heads": Whole(
        b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_INTERIM_HEADS + COUNTED,
        b"hello",
        statuses=(102,) * MAX_INTERIM_HEADS + (200,),
    ),
    "no reason phrase": Whole(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "no reason phrase and no blank": Whole(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "an error status": Whole(
        b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", b"no", statuses=(503,)
    ),
    "closing after counted content": Whole(
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", is_persistent=False
    ),
    "HTTP/1.0 with a length": Whole(
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", is_persistent=False
    ),
}


class TestWholeResponses:
    @pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE.keys())
    async def test_it_is_read_the_same_however_it_comes(self, case: Whole) -> None:
        reading = await read_every_way(case.wire, case.method)
        assert reading.error == ""
        assert reading.statuses == list(case.statuses)
        assert reading.content == case.content
        assert reading.trailers == case.trailers
        assert reading.is_ready_again is case.is_persistent

    @pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE.keys())
    async def test_what_comes_behind_it_is_not_read_and_forbids_reuse(self, case: Whole) -> None:
        reading = await read([case.wire + b"HTTP/1.1 200 OK\r\n\r\n"], case.method)
        assert reading.error == ""
        assert reading.content == case.content
        assert reading.trailers == case.trailers
        assert not reading.is_ready_again

    @pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE.keys())
    async def test_no_byte_more_is_asked_for_than_it_has(self, case: Whole) -> None:
        """Else a whole response on a connection that stays open would wait for the next one."""
        http1 = Http1(stream := Pieces([*byte_by_byte(case.wire), b"behind"]))
        http1.begin(write_request_head(case.method, "/", (), "orders.test", 0))
        http1.end_of_request()
        async for _ in interruptible(http1, Reading()):
            pass
        assert stream.bytes_taken == len(case.wire)

    async def test_fields_keep_their_order_and_letter_case(self) -> None:
        wire = OK + b"X-B: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\ncontent-length: 0\r\n\r\n"
        reading = await read_every_way(wire)
        assert reading.heads == [
            (
                200,
                b"OK",
                b"1.1",
                (
                    (b"X-B", b"1"),
                    (b"set-cookie", b"a"),
                    (b"Set-Cookie", b"b"),
                    (b"content-length", b"0"),
                ),
            )
        ]

    async def test_a_request_that_asks_to_close_is_not_followed_by_another(self) -> None:
        reading = await read_every_way(COUNTED, close=True)
        assert (reading.content, reading.error) == (b"hello", "")
        assert not reading.is_ready_again


class TestUntilClose:
    """RFC 9112, section 6.3: without a length, the end of the connection is the end."""

    @pytest.mark.parametrize(
        "head",
        [OK + b"\r\n", b"HTTP/1.0 200 OK\r\n\r\n", OK + b"Connection: close\r\n\r\n"],
        ids=["HTTP/1.1", "HTTP/1.0", "Connection: close"],
    )
    async def test_the_end_ends_it_and_the_connection(self, head: bytes) -> None:
        reading = await read_every_way(head + b"all of it")
        assert (reading.content, reading.error) == (b"all of it", "")
        assert not reading.is_ready_again


@dataclass(frozen=True)
class Broken:
    """A response that is not one, or not a whole one."""

    wire: bytes
    error: str
    content: bytes = b""
    statuses: tuple[int, ...] = ()
    method: str = "GET"


LOST, GARBLED = "ConnectionLost", "Garbled"

BROKEN = {
    "nothing": Broken(b"", LOST),
    "cut in the status line": Broken(b"HTTP/1.1 20", LOST),
    "cut in the head": Broken(OK + b"Content-Len", LOST),
    "cut before the empty line": Broken(OK + b"Content-Length: 5\r\n", LOST),
    "cut before the content": Broken(OK + b"Content-Length: 5\r\n\r\n", LOST, statuses=(200,)),
    "cut in the content": Broken(COUNTED[:-1], LOST, b"hell", (200,)),
    "cut in a chunk": Broken(CHUNKED[:-20], LOST, b"hello", (200,)),
    "cut between chunks": Broken(CHUNKED[: CHUNKED.index(b"6;")], LOST, b"hello", (200,)),
    "cut in the size of a chunk": Broken(CHUNKED[: CHUNKED.index(b";ext")], LOST, b"hello", (200,)),
    "cut before the last chunk": Broken(
        CHUNKED[: CHUNKED.index(b"0\r\n\r\n")], LOST, b"hello world", (200,)
    ),
    "cut in the end of the chunks": Broken(CHUNKED[:-2], LOST, b"hello world", (200,)),
    "cut after an interim head": Broken(b"HTTP/1.1 100 Continue\r\n\r\n", LOST, statuses=(100,)),
    "cut in the first word": Broken(b"HTT", LOST),
    "another protocol, and the end": Broken(b"SSH-2.0-OpenSSH_9.2\r\n", GARBLED),
    "one byte of another protocol, and the end": Broken(b"\x15", GARBLED),
    "another protocol": Broken(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", GARBLED),
    "HTTP of a version that there is not": Broken(b"HTTP/2 200 OK\r\n\r\n", GARBLED),
    "a status that is no number": Broken(b"HTTP/1.1 abc OK\r\n\r\n", GARBLED),
    "a field without a colon": Broken(OK + b"nonsense\r\n\r\n", GARBLED),
    "a blank before the colon": Broken(OK + b"Content-Length : 5\r\n\r\nhello", GARBLED),
    "two lengths": Broken(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", GARBLED),
    "two lengths that agree": Broken(
        OK + b"Content-Length: 5\r\nX:\r\nContent-Length: 5\r\n\r\nhello", GARBLED
    ),
    "a list of lengths": Broken(OK + b"Content-Length: 5, 5\r\n\r\nhello", GARBLED),
    "a length and chunked": Broken(
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", GARBLED
    ),
    "chunked in HTTP/1.0": Broken(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", GARBLED
    ),
    "HTTP/2.0 in the first line": Broken(b"HTTP/2.0 200 OK\r\n\r\n", GARBLED),
    "HTTP/2's first frame": Broken(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00", GARBLED),
    "no head at all": Broken(b"<html>hello</html>", GARBLED),
    "an empty line first": Broken(b"\r\n" + COUNTED, GARBLED),
    "lines that end in LF": Broken(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", GARBLED),
    "a head that ends in LF": Broken(OK + b"Content-Length: 5\r\n\nhello", GARBLED),
    "a CR in a value": Broken(OK + b"X: a\rContent-Length: 5\r\n\r\nhello", GARBLED),
    "a folded field": Broken(OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", GARBLED),
    "a NUL in a value": Broken(OK + b"X: a\x00b\r\nContent-Length: 5\r\n\r\nhello", GARBLED),
    "a control byte in a value": Broken(
        OK + b"X: a\x01b\r\nContent-Length: 5\r\n\r\nhello", GARBLED
    ),
    "a control byte in the reason": Broken(
        b"HTTP/1.1 200 O\x01K\r\nContent-Length: 5\r\n\r\nhello", GARBLED
    ),
    "a blank behind the size of a chunk": Broken(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        GARBLED,
        statuses=(200,),
    ),
    "a chunk whose size ends in LF": Broken(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", GARBLED, statuses=(200,)
    ),
    "a trailer that is none": Broken(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        GARBLED,
        b"hello",
        (200,),
    ),
    "a length that is no number": Broken(OK + b"Content-Length: five\r\n\r\nhello", GARBLED),
    "a negative length": Broken(OK + b"Content-Length: -5\r\n\r\nhello", GARBLED),
    "a transfer coding that is not chunked": Broken(
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello", GARBLED
    ),
    "a chunk size that is no number": Broken(
        OK + b"Transfer-Encoding: chunked\r\n\r\nfive!\r\n", GARBLED, statuses=(200,)
    ),
    "a chunk longer than it says": Broken(
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n0\r\n\r\n",
        GARBLED,
        b"hello",
        (200,),
    ),
    "101, which was not asked for": Broken(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", GARBLED
    ),
    "33 interim heads": Broken(
        b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIM_HEADS + 1) + COUNTED,
        "Endless",
        statuses=(102,) * MAX_INTERIM_HEADS,
    ),
}


class TestBrokenResponses:
    @pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
    async def test_it_is_told_the_same_however_it_comes(self, case: Broken) -> None:
        reading = await read_every_way(case.wire, case.method)
        assert reading.error == case.error
        assert reading.statuses == list(case.statuses)
        assert reading.content == case.content
        assert not reading.is_ready_again

    @pytest.mark.parametrize("wire", [COUNTED, CHUNKED], ids=["counted", "chunked"])
    async def test_no_cut_makes_it_look_whole(self, wire: bytes) -> None:
        for end in range(len(wire)):
            reading = await read([wire[:end]])
            assert reading.error == LOST, wire[:end]
            assert not reading.is_ready_again

    async def test_it_stays_broken(self) -> None:
        http1 = Http1(Pieces([b"garbage\r\n\r\n", COUNTED]))
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        for _ in range(2):
            with pytest.raises(Garbled):
                await http1.read_head()

    async def test_an_end_stays_the_end(self) -> None:
        http1 = Http1(Pieces([]))
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="the server closed the connection"):
                await http1.read_head()


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


class TestUpgrade:
    @staticmethod
    def asked(*pieces: bytes) -> Http1:
        http1 = Http1(Pieces(pieces))
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0), is_upgrade=True)
        http1.end_of_request()
        return http1

    @pytest.mark.parametrize("behind", [b"", b"\x81\x05hello"], ids=["nothing", "a frame"])
    async def test_101_is_an_answer_and_what_follows_is_left_alone(self, behind: bytes) -> None:
        http1 = self.asked(b"HTTP/1.1 103 Early Hints\r\n\r\n" + SWITCH + behind, b"later")
        assert (await http1.read_head()).status == 103
        assert (await http1.read_head()).status == 101
        assert http1.leftover() == http1.leftover() == behind
        assert not http1.start_next()

    async def test_any_other_answer_is_read_as_ever(self) -> None:
        http1 = self.asked(COUNTED, CHUNKED)
        assert (await http1.read_head()).status == 200
        assert await http1.read_content() == b"hello"
        assert await http1.read_content() == b""
        assert http1.start_next()
        # The next request on it has not asked.
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        http1.end_of_request()
        assert (await http1.read_head()).status == 200

    async def test_only_the_request_that_asked_has_it(self) -> None:
        http1 = self.asked(COUNTED, SWITCH)
        await http1.read_head()
        while await http1.read_content():
            pass
        assert http1.start_next()
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        http1.end_of_request()
        with pytest.raises(Garbled):
            await http1.read_head()

    async def test_not_before_the_request_is_whole(self) -> None:
        http1 = Http1(Pieces([SWITCH]))
        http1.begin(write_request_head("PUT", "/", (), "orders.test", 5), is_upgrade=True)
        with pytest.raises(Garbled, match="before the request was whole"):
            await http1.read_head()


class TestBounds:
    async def test_a_head_within_the_bound_is_read(self) -> None:
        filler = b"X: " + b"x" * (MAX_HEAD_BYTES - 100) + b"\r\n"
        reading = await read([OK + filler + b"Content-Length: 0\r\n\r\n"])
        assert reading.statuses == [200]

    @pytest.mark.parametrize(
        ("start", "endless"),
        [
            pytest.param(OK, b"X: x\r\n", id="fields"),
            pytest.param(OK + b"X: ", b"x", id="one field"),
            pytest.param(b"HTTP/1.1 200 ", b"x", id="reason phrase"),
            pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5;", b"x", id="chunk extension"),
            pytest.param(
                OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n", id="trailers"
            ),
        ],
    )
    @pytest.mark.parametrize("piece", [RECEIVE_BYTES, 1000])
    async def test_what_never_ends_is_refused_while_it_is_small(
        self, start: bytes, endless: bytes, piece: int
    ) -> None:
        stream = Pieces([start] + [endless * (piece // len(endless))] * 200)
        http1 = Http1(stream)
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        with pytest.raises(Garbled):
            async for _ in interruptible(http1, Reading()):
                pass
        assert stream.bytes_taken <= len(start) + MAX_HEAD_BYTES + RECEIVE_BYTES


class TestInterrupts:
    @pytest.mark.parametrize("wire", [CHUNKED, WHOLE["interim heads before the final one"].wire])
    async def test_one_between_any_two_bytes_loses_nothing(self, wire: bytes) -> None:
        undisturbed = await read([wire])
        for at in range(len(wire) + 1):
            assert (
                await read([wire[:at], NEWS, NEWS, wire[at:]] if at else [NEWS, wire])
                == undisturbed
            )


class TestNextExchange:
    async def test_one_follows_another(self) -> None:
        http1 = Http1(Pieces([CHUNKED, COUNTED, b"HTTP/1.1 204 No Content\r\n\r\n"]))
        seen: list[bytes] = []
        for _ in range(3):
            http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
            http1.end_of_request()
            async for _ in interruptible(http1, reading := Reading()):
                pass
            seen.append(reading.content)
            assert http1.start_next()
        assert seen == [b"hello world", b"hello", b""]

    async def test_trailers_and_interim_heads_are_counted_anew(self) -> None:
        interim = b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_INTERIM_HEADS
        http1 = Http1(
            Pieces([interim + WHOLE["chunked content with trailers"].wire, interim + COUNTED])
        )
        for expected in (WHOLE["chunked content with trailers"].trailers, ()):
            http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
            http1.end_of_request()
            async for _ in interruptible(http1, reading := Reading()):
                pass
            assert reading.trailers == expected
            assert http1.start_next()
            assert http1.trailers == ()

    def test_not_before_an_exchange_began(self) -> None:
        assert not Http1(Pieces([])).start_next()

    async def test_not_while_content_is_due(self) -> None:
        http1 = Http1(Pieces([COUNTED]))
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        http1.end_of_request()
        seen = [http1.start_next()]
        for step in (http1.read_head, http1.read_content, http1.read_content):
            await step()
            seen.append(http1.start_next())
        # After its last byte the end of the content is still to be read.
        assert seen == [False, False, False, True]

    async def test_not_while_the_request_is_unfinished(self) -> None:
        """An answer that came early: the rest of the request would be taken for the next one."""
        http1 = Http1(Pieces([COUNTED]))
        head = write_request_head("POST", "/", (), "orders.test", 10)
        http1.begin(head)
        http1.content_bytes(b"half.")
        async for _ in interruptible(http1, Reading()):
            pass
        assert not http1.start_next()

    @pytest.mark.parametrize(
        "wire",
        [
            COUNTED + b"x",
            OK + b"Content-Length: 0\r\n\r\nx",
            b"HTTP/1.1 204 No Content\r\n\r\nx",
            OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
        ],
        ids=["counted", "empty", "204", "chunked"],
    )
    @pytest.mark.parametrize("size", [1, 50, 1000])
    async def test_not_with_a_byte_too_many_in_hand(self, wire: bytes, size: int) -> None:
        """However it came: in pieces, and with the last byte of the content or behind it."""
        cut = [wire[at : at + size] for at in range(0, len(wire), size)]
        reading = await read(cut)
        assert reading.error == ""
        # What is not read yet is found by whoever asks the socket.
        assert reading.is_ready_again is (len(cut[-1]) == 1)

    async def test_the_end_of_content_is_told_as_often_as_it_is_asked_for(self) -> None:
        http1 = Http1(Pieces([COUNTED, CHUNKED]))
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        await http1.read_head()
        seen = [await http1.read_content() for _ in range(3)]
        assert seen == [b"hello", b"", b""]
