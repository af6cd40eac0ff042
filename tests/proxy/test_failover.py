"""Failover through the sidecar: the instants at which a client gets its answer, and what it is told."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.core.spec import IdempotencyKey, Target
from tests.proxy.house import BACKED_UP, BOTH, ONE, A, B, house
from tests.proxy.playbook import play
from tests.sim.effects import (
    AfterHeadBytes,
    AfterRequest,
    AfterRequestBytes,
    Blackhole,
    BlackholeConnect,
    Fault,
    HalfOpen,
    Kill,
    OnConnect,
    Refuse,
    Reset,
)
from tests.sim.origin import Reply

THINKING = Fault(Blackhole(), AfterRequest())
BEFORE = Fault(Blackhole(), OnConnect())
CONTENT = b"content"
KEY = "Idempotency-Key: 7f9c|"


# --- a server dies, and another one answers -------------------------------------------------------

NEW_CONNECTION = 0.002
"""b is half a millisecond away: SYN, its answer, the request, the response."""


@pytest.mark.parametrize(
    ("fault", "at", "verdict"),
    [
        (Fault(Kill(), AfterRequest()), 0.0, "closed"),
        (Fault(Reset(), AfterRequest()), 0.0, "closed"),
        (Fault(Reset(), AfterHeadBytes(10)), 0.0, "closed"),
        (Fault(HalfOpen(), AfterRequest()), 1.0, "closed"),
        (THINKING, 1.1, "superseded"),
        (BEFORE, 0.45, "superseded"),
        (Fault(Blackhole(), AfterRequestBytes(20)), 0.45, "superseded"),
    ],
    ids=str,
)
async def test_a_get_is_answered_by_another_server(
    autojump_clock: MockClock, fault: Fault, at: float, verdict: str
) -> None:
    async with house(fault) as h:
        answer = await h.ask(200, at + NEW_CONNECTION)
        assert answer.server == "b"
        assert answer.content == b"b: GET /x \n"
        assert h.told() == [f"GET /x 200 answered [10.0.0.1:80 {verdict}, 10.0.0.2:80 answered]"]


@pytest.mark.parametrize(
    "fault", [Fault(Refuse(), OnConnect()), Fault(BlackholeConnect(), OnConnect())]
)
async def test_a_server_that_cannot_be_connected_costs_nothing(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with house(fault) as h:
        answer = await h.ask(200, NEW_CONNECTION, "POST")
        assert answer.server == "b"
        assert answer.proxy_status == ""  # it took one attempt
        assert h.told() == ["POST /x 200 answered [10.0.0.2:80 answered]"]


@pytest.mark.parametrize(
    ("fault", "at"),
    [(Fault(Refuse(), OnConnect()), 0.0), (Fault(BlackholeConnect(), OnConnect()), 1.0)],
)
async def test_the_backup_is_asked_when_no_url_can_be_connected(
    autojump_clock: MockClock, fault: Fault, at: float
) -> None:
    async with house(fault, target=BACKED_UP) as h:
        assert (await h.ask(200, at + NEW_CONNECTION, "POST")).server == "b"


@pytest.mark.parametrize(
    ("fault", "at"),
    [(Fault(Kill(), AfterRequest()), 0.0), (THINKING, 2.5), (BEFORE, 1.05)],
    ids=str,
)
@pytest.mark.parametrize(("method", "fields"), [("PUT", ""), ("DELETE", ""), ("POST", KEY)])
async def test_what_is_only_idempotent_waits_for_proof(
    autojump_clock: MockClock, fault: Fault, at: float, method: str, fields: str
) -> None:
    async with house(fault) as h:
        answer = await h.ask(200, at + NEW_CONNECTION, method, content=CONTENT, fields=fields)
        assert answer.server == "b"
        assert answer.content == b"b: %b /x content\n" % method.encode()
        [dead, answered] = h.records[0].attempts
        assert dead.verdict.value in ("closed", "dead")
        assert answered.bytes_sent >= dead.bytes_sent


async def test_proxy_status_tells_of_both_attempts(autojump_clock: MockClock) -> None:
    async with house(THINKING) as h:
        answer = await h.ask(200, 1.1 + NEW_CONNECTION)
        assert answer.proxy_status == (
            'haclient; next-hop="10.0.0.2:80"; received-status=200; details="'
            "1. 10.0.0.1:80: superseded while waiting after 1.10 s "
            '(1 keep-alive probes unanswered, silent for 1.10 s)"'
        )


async def test_the_next_request_pays_nothing(autojump_clock: MockClock) -> None:
    async with house(THINKING) as h:
        await h.ask(200, 1.1 + NEW_CONNECTION)
        for _ in range(3):
            assert (await h.ask(200, 0.001)).server == "b"


async def test_a_server_that_lives_is_not_abandoned(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(think=39.0)
        assert (await h.ask(200, 39.0)).server == "a"
        assert h.b.executed == []


# --- failover_statuses ----------------------------------------------------------------------------


async def test_a_status_that_asks_for_another_server(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(503)
        answer = await h.ask(200, NEW_CONNECTION)
        assert answer.server == "b"
        assert 'details="1. 10.0.0.1:80: answered with 503 after 0.00 s' in answer.proxy_status


async def test_the_last_bad_answer_is_passed_on(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = h.b.reply = Reply(503, content=b"no")
        answer = await h.ask(503, NEW_CONNECTION)
        assert (answer.server, answer.content) == ("b", b"no")
        assert h.records[0].outcome.value == "answered"


async def test_a_post_is_not_asked_again_for_a_status(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(503, content=b"no")
        answer = await h.ask(503, 0.0, "POST")
        assert (answer.server, answer.content, answer.proxy_status) == ("a", b"no", "")


# --- no answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "at", "error", "verdict", "evidence"),
    [
        (
            Fault(Kill(), AfterRequest()),
            0.0,
            "connection_terminated",
            "closed",
            "the server closed the connection",
        ),
        (THINKING, 2.5, "connection_terminated", "dead", "3 keep-alive probes unanswered"),
        (BEFORE, 1.05, "connection_terminated", "dead", "2 retransmissions unanswered"),
    ],
)
async def test_a_post_on_a_dying_server_runs_once_at_the_most(
    autojump_clock: MockClock, fault: Fault, at: float, error: str, verdict: str, evidence: str
) -> None:
    async with house(fault) as h:
        answer = await h.ask(502, at, "POST", content=CONTENT, fields="X-Request-Id: 7|")
        assert h.runs() == ([] if fault is BEFORE else ["a"])
        told = answer.problem
        assert told.pop("detail")
        [attempt] = told.pop("attempts")
        assert told == {
            "title": "Bad Gateway",
            "status": 502,
            "request_id": "7",
            "may_have_been_processed": True,
        }
        assert evidence in attempt.pop("evidence")
        assert attempt == {
            "number": 1,
            "endpoint": "10.0.0.1:80",
            "origin": "http://ab.test",
            "phase": "waiting",
            "verdict": verdict,
            "start_ms": 0.0,
            "end_ms": at * 1000,
        }
        assert answer.proxy_status.startswith(
            f'haclient; error={error}; next-hop="10.0.0.1:80"; details="'
        )
        assert not answer.is_last
        assert h.told() == [f"POST /x 502 own [10.0.0.1:80 {verdict}] {error}"]


async def test_a_post_with_a_key_that_is_not_honoured(autojump_clock: MockClock) -> None:
    target = Target(urls=BOTH.urls, idempotency_key=IdempotencyKey.IGNORE)
    async with house(Fault(Kill(), AfterRequest()), target=target) as h:
        assert (await h.ask(502, 0.0, "POST", fields=KEY)).problem["may_have_been_processed"]


async def test_all_refuse(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.network.refuse(A)
        h.network.refuse(B)
        answer = await h.ask(502, 0.001, "POST")
        assert not answer.problem["may_have_been_processed"]
        [attempt] = answer.problem["attempts"]
        assert (attempt["endpoint"], attempt["verdict"]) == (None, "refused")
        assert attempt["phase"] == "connecting"
        assert attempt["evidence"] == "10.0.0.1:80 refused, 10.0.0.2:80 refused"
        assert answer.proxy_status.startswith('haclient; error=connection_refused; details="')
        assert h.told() == ["POST /x 502 own [http://ab.test refused] connection_refused"]


async def test_all_are_blackholed(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.network.blackhole(A)
        h.network.blackhole(B)
        answer = await h.ask(504, 3.0)
        assert answer.proxy_status.startswith("haclient; error=connection_timeout;")
        assert len(answer.problem["attempts"]) == 3


async def test_all_die_thinking(autojump_clock: MockClock) -> None:
    async with house(THINKING) as h:
        h.b.script(THINKING)
        answer = await h.ask(502, 3.61)
        verdicts = [one["verdict"] for one in answer.problem["attempts"]]
        assert verdicts == ["dead", "dead", "refused"]
        assert answer.problem["may_have_been_processed"]


async def test_no_such_name(autojump_clock: MockClock) -> None:
    async with house(target=Target(urls=["http://nowhere.test/"])) as h:
        answer = await h.ask(502, 0.0)
        assert answer.proxy_status.startswith("haclient; error=dns_error;")
        assert not answer.problem["may_have_been_processed"]


async def test_the_back_stop(autojump_clock: MockClock) -> None:
    target = Target(urls=["http://ab.test/"], response_timeout=5.0)
    async with house(target=target) as h:
        h.a.reply = Reply(think=100.0)
        answer = await h.ask(504, 5.0, "POST")
        assert answer.proxy_status.startswith("haclient; error=http_response_timeout;")
        assert answer.problem["may_have_been_processed"]


async def test_the_budget_is_spent(autojump_clock: MockClock) -> None:
    target = Target(urls=["http://ab.test/"], retry_budget=0.0)
    async with house(target=target) as h:
        budget = h.gateway.targets["main"].budget
        while budget.withdraw(0.0):
            pass
        h.a.reply = Reply(503)
        answer = await h.ask(503, 0.0)
        # The server's own word is better than one of ours.
        assert answer.server == "a"


async def test_no_place_in_front_of_a_full_server(autojump_clock: MockClock) -> None:
    target = Target(urls=["http://a.test/"], max_connections=1, queue_timeout=2.0)
    async with house(target=target) as h:
        h.a.reply = Reply(think=10.0)
        first, second = h.client(), h.client()
        await play(
            first.says("GET /1 HTTP/1.1|Host: shop||"),
            second.says("GET /2 HTTP/1.1|Host: shop||"),
            second.hears_answer(503).at(2.0),
            first.hears_answer(200).at(10.0),
        )
        assert second.got.value("Retry-After") == "1"
        assert not second.got.problem["may_have_been_processed"]
        assert [one["phase"] for one in second.got.problem["attempts"]] == ["queued"]


async def test_head_is_told_without_content(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        h.network.refuse(A)
        answer = await h.ask(502, 0.0, "HEAD")
        assert answer.content == b""
        assert int(answer.value("Content-Length")) > 100


async def test_after_an_error_the_connection_serves_on(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        h.network.refuse(A)
        client = h.client()
        asked = "GET /x HTTP/1.1|Host: shop||"
        await play(client.says(asked), client.hears_answer(502))
        h.network.heal(A)
        await play(client.says(asked), client.hears_answer(200))
        assert client.got.server == "a"


async def test_an_error_of_ours_is_the_last_to_an_http_1_0_client(
    autojump_clock: MockClock,
) -> None:
    """It bears no "Connection: keep-alive", without which such a client takes it for the last."""
    async with house(target=ONE) as h:
        h.network.refuse(A)
        client = h.client()
        await play(
            client.says("GET /x HTTP/1.0|Host: shop|Connection: keep-alive||"),
            client.hears_answer(502),
            client.hears_end(),
        )
        assert client.got.is_last
