"""What an exchange has come to, where it ends otherwise than by an answer or its client."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Mode
from haclient.proxy.connect import Connect
from haclient.proxy.relay import Relay
from tests.proxy.house import IDS, ONE, A, house
from tests.proxy.playbook import play


async def test_our_own_answer_in_a_servers_place_is_counted(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def head(relay: Relay, *, may_persist: bool) -> bytes:
        raise ValueError("it is not fit for the wire")

    monkeypatch.setattr(Relay, "head", head)
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"GET /x HTTP/1.1|Host: shop|{IDS}|"),
            a.accepts(),
            a.says("HTTP/1.1 200 OK|Content-Length: 2||hi"),
            a.hears_end(),
            client.hears_answer(502),
        )
        [record] = h.records
        assert record.response_bytes == len(client.got.content)
        assert record.attempts[0].verdict.value == "garbled"


async def test_a_fault_of_ours_is_not_told_as_a_client_that_left(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow = AllowList((parse_rule("*.test:80"),))
    async with house(mode=Mode.FORWARD, allow=allow) as h:
        monkeypatch.setattr(Connect, "_say_established", lambda connect: 1 / 0)
        client, _ = h.client(), h.server(A)
        await play(client.says("CONNECT a.test:80 HTTP/1.1|Host: a.test:80||"), client.hears_end())
        [fault] = h.faults
        assert isinstance(fault, ZeroDivisionError)
        h.faults.clear()
        assert h.records[0].detail == ""
