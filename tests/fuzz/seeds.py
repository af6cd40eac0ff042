"""Where mutations begin: the wires of tests/corpus, and words that mean something in HTTP/1.1."""

from __future__ import annotations

from tests.corpus.case import request_cases, response_cases

__all__ = ["WORDS", "request_seeds", "response_seeds"]

LONGEST = 3000
"""Bytes: the corpus's long ones are about limits, and cost a fuzzer its speed."""

WORDS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b";", b",", b"\0", b"\x7f", b"\xff"),
    *(b"0", b"1", b"5", b"a", b"0\r\n\r\n", b"5\r\nhello\r\n", b"-1", b"+5", b"0x5", b"1_0"),
    *(
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"HTTP/1.0",
        b"HTTP/1.1",
    ),
    *(b"Host: a.test\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"chunked"),
    *(
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: x\r\n",
        b"identity",
        b"gzip",
    ),
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 \r\n",
        b"X-A: b\r\n",
    ),
    *(
        b"HTTP/1.1 101 x\r\n",
        b"HTTP/1.1 304 x\r\n",
        b"Set-Cookie: a=b\r\n",
        b"hello",
        b"http://a.test/b",
    ),
)


def request_seeds() -> list[bytes]:
    """The wires of the requests."""
    return [case.wire for case in request_cases() if len(case.wire) <= LONGEST]


def response_seeds() -> list[bytes]:
    """The wires of the responses."""
    return [case.wire for case in response_cases() if len(case.wire) <= LONGEST]
