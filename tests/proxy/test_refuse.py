"""What is no request, or none that is allowed: one answer, one record, by one name, and the end."""

from __future__ import annotations

import re

from trio.testing import MockClock

from tests.proxy.house import house
from tests.proxy.playbook import play


async def test_it_is_known_by_the_clients_own_name(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        asked = "GET / HTTP/1.1|Host: a b|X-Request-Id: mine-7||"
        await play(client.says(asked), client.hears_answer(400), client.hears_end())

        assert client.got.value("X-Request-Id") == "mine-7"
        assert client.got.problem["request_id"] == "mine-7"
        assert [record.request_id for record in h.records] == ["mine-7"]


async def test_it_gets_a_name_where_it_has_none(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(client.says("nonsense||"), client.hears_answer(400), client.hears_end())

        [record] = h.records
        assert re.fullmatch("[0-9a-f]{32}", record.request_id)
        assert client.got.value("X-Request-Id") == record.request_id
        assert record.error == "http_request_error"


async def test_a_head_is_refused_without_content(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        asked = "HEAD / HTTP/1.1|Host: a b||"
        await play(client.says(asked), client.hears_answer(400, "HEAD"), client.hears_end())

        assert client.got.content == b""
        assert int(client.got.value("Content-Length")) > 0
