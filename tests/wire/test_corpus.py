"""Every case of the corpus, at every split, through the data plane; and what the judge is worth."""

from __future__ import annotations

import pytest
import trio

from haclient.core.config import Mode
from tests.corpus.absolute import OF_ANOTHER_FORM, absolute
from tests.corpus.backend import Backend
from tests.corpus.case import RequestCase, ResponseCase, request_cases, response_cases
from tests.corpus.play import play_request, play_response, splits
from tests.corpus.reader import Ambiguous, read_request, read_response
from tests.corpus.relay import serve_relay
from tests.corpus.run import run_all
from tests.corpus.verdict import Grade

CASES: tuple[RequestCase | ResponseCase, ...] = (*request_cases(), *response_cases())
TOPICS = list(dict.fromkeys((type(case), case.topic) for case in CASES))


@pytest.mark.parametrize(
    ("kind", "topic"), TOPICS, ids=lambda value: getattr(value, "__name__", value)
)
async def test_every_verdict_is_right(kind: type, topic: str) -> None:
    wrong = [str(one) for one in await run_all(of(kind, topic)) if one.grade is not Grade.RIGHT]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("kind", "topic"), TOPICS, ids=lambda value: getattr(value, "__name__", value)
)
async def test_every_verdict_is_right_at_a_forward_listener(kind: type, topic: str) -> None:
    """In absolute-form; of another form a forward proxy has its own view, which is harmless too."""
    played = await run_all(of(kind, topic), Mode.FORWARD)
    others = [one for one in played if one.name in OF_ANOTHER_FORM]
    assert [one.grade for one in others] == [Grade.WRONG] * len(others)
    wrong = [str(one) for one in played if one.grade is not Grade.RIGHT and one not in others]
    assert not wrong, "\n".join(wrong)


def of(kind: type, topic: str) -> tuple[RequestCase | ResponseCase, ...]:
    return tuple(case for case in CASES if isinstance(case, kind) and case.topic == topic)


def test_what_a_forward_listener_is_played() -> None:
    """In absolute-form, all but a few; with the content, and what is hidden there, as it was."""
    played = {f"{case.topic}/{case.id}": absolute(case) for case in CASES}
    assert set(OF_ANOTHER_FORM) < set(played)
    asked = [case.wire for case in played.values() if isinstance(case, RequestCase)]
    assert sum(b" http://a.test/" in wire.partition(b"\r\n")[0] for wire in asked) > 500
    hidden = played["plain/get-with-hidden-request"]
    assert isinstance(hidden, RequestCase)
    assert hidden.wire == (
        b"GET http://a.test/a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 44\r\n\r\n"
        b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\nX: y\r\n"
    )
    twice = played["pipeline/two"]
    assert isinstance(twice, RequestCase)
    assert twice.wire.count(b" http://a.test/") == twice.wire.count(b" HTTP/1.1") == 2


def test_there_are_enough_of_them() -> None:
    assert len(request_cases()) >= 500
    assert len(response_cases()) >= 150


def test_no_case_is_there_twice() -> None:
    asked = [case.wire for case in request_cases()]
    said = [(case.ask, case.wire, case.end, case.then) for case in response_cases()]
    assert [case.id for case in request_cases() if asked.count(case.wire) > 1] == []
    assert len(set(said)) == len(said)


def test_every_case_says_which_rule_it_stands_for() -> None:
    assert [case.id for case in CASES if not case.rule.startswith("RFC ") or not case.why] == []


@pytest.mark.parametrize("wire", [b"", b"x", b"ab", b"GET / HTTP/1.1\r\n\r\n", b"x" * 2000])
def test_splits_are_the_same_bytes(wire: bytes) -> None:
    assert {b"".join(pieces) for pieces in splits(wire, 1)} == {wire}


# --- the judge ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "name", "outcome"),
    [
        ("coding", "cl-te-hidden-request", "ambiguous"),
        ("coding", "te-cl-hidden-request", "ambiguous"),
        ("length", "plus", "ambiguous"),
        ("lines", "nul-in-value", "ambiguous"),
        ("lines", "lf-only", "ambiguous"),
        ("connection", "named", "forwarded with 'X-A'"),
        ("chunks", "lf-behind-size", "ambiguous"),
        ("plain", "get", "forward"),
    ],
)
async def test_a_relay_is_found_out_by_requests(topic: str, name: str, outcome: str) -> None:
    [case] = [one for one in request_cases() if (one.topic, one.id) == (topic, name)]
    backend = Backend()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.serve)
        address = await nursery.start(serve_relay, backend.port)
        verdict = await play_request(case, address, backend, (case.wire,))
        nursery.cancel_scope.cancel()
    assert verdict.outcome.startswith(outcome)


@pytest.mark.parametrize(
    ("topic", "name", "outcome"),
    [
        ("framing", "two-lengths", "ambiguous"),
        ("framing", "more-than-the-length", "smuggled"),
        ("framing", "an-answer-later", "mixed up"),
        ("heads", "nul-in-value", "ambiguous"),
        ("broken", "half-of-the-content", "broken, eof"),
        ("good", "counted", "pass 200"),
    ],
)
async def test_a_relay_is_found_out_by_responses(topic: str, name: str, outcome: str) -> None:
    [case] = [one for one in response_cases() if (one.topic, one.id) == (topic, name)]
    backend = Backend()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.serve)
        address = await nursery.start(serve_relay, backend.port)
        verdict = await play_response(case, address, backend, (case.wire,))
        nursery.cancel_scope.cancel()
    assert verdict.outcome.startswith(outcome)


HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "wire",
    [
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        HEAD + b"Content-Length: +1\r\n\r\nx",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a\rb\r\nx\r\n0\r\n\r\n",
        HEAD + b"Host: b\r\n\r\n",
        HEAD + b"X : a\r\n\r\n",
        HEAD + b"X: a\r\n b\r\n\r\n",
        HEAD + b"X: a\nY: b\r\n\r\n",
        HEAD + b"X: a\rb\r\n\r\n",
        HEAD + b"X: a\0b\r\n\r\n",
        HEAD + b": a\r\n\r\n",
        b"POST /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\r\n" + HEAD + b"\r\n",
    ],
)
def test_what_the_server_finds_ambiguous(wire: bytes) -> None:
    with pytest.raises(Ambiguous):
        read_request(wire)


def test_what_the_server_reads() -> None:
    message = read_request(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nB: c\r\n\r\nrest"
    )
    assert message is not None
    assert (message.content, message.trailers) == (b"x", ((b"B", b"c"),))
    assert read_request(HEAD + b"Content-Length: 2\r\n\r\nx") is None
    assert read_request(HEAD + b"\r") is None


def test_what_the_client_reads() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    assert read_response(head + b"\r\nx", "GET", is_end=False) is None
    whole = read_response(head + b"\r\nx", "GET", is_end=True)
    assert whole is not None
    assert whole.content == b"x"
    assert read_response(head + b"Content-Length: 2\r\n\r\nx", "GET", is_end=True) is None
    answer_to_head = read_response(head + b"Content-Length: 2\r\n\r\n", "HEAD", is_end=False)
    assert answer_to_head is not None
    with pytest.raises(Ambiguous):
        read_response(
            head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", is_end=True
        )
