"""A forward listener, at the exact instant: requests in absolute-form, and who may be reached."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from trio.testing import MockClock

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Mode
from haclient.core.destination import Destination
from haclient.core.spec import HealthRequests, Target
from haclient.engine.live import LiveTarget
from haclient.proxy.destinations import MOST_DESTINATIONS
from tests.proxy.house import IDS, A, house
from tests.proxy.playbook import play, wire
from tests.sim.dns import Answer
from tests.sim.effects import AfterRequest, Blackhole, Fault, Kill

OK = "HTTP/1.1 200 OK|Content-Length: 2||hi"
ASKED = f"GET http://A.test:80/1 HTTP/1.1|Host: other|{IDS}|"
PASSED = f"GET /1 HTTP/1.1|Host: a.test|{IDS}|"


def forward(*rules: str) -> dict[str, Any]:
    """The settings of a door."""
    return {"mode": Mode.FORWARD, "allow": AllowList(tuple(map(parse_rule, rules)))}


async def test_a_request_goes_where_it_says(autojump_clock: MockClock) -> None:
    async with house(**forward("*.test:*")) as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED),
            a.hears(PASSED),
            a.says(OK).at(0.1),
            client.hears(OK),
            client.says(ASKED).at(1.0),
            a.hears(PASSED),
            a.says(OK),
            client.hears(OK),
        )
        assert h.told() == ["GET /1 200 answered [10.0.0.1:80 answered]"] * 2
        assert [record.attempts[0].reused for record in h.records] == [False, True]
        assert [(each.target, each.host) for each in h.records] == [("shop", "A.test:80")] * 2


async def test_what_is_for_the_proxy_alone_stays_there(autojump_clock: MockClock) -> None:
    own = "Proxy-Authorization: Basic eDp5|Proxy-Connection: keep-alive|TE: trailers|"
    async with house(**forward("*.test:*"), via=True) as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED.replace(IDS, f"{own}Connection: x-mine|X-Mine: 1|{IDS}")),
            a.hears(PASSED.replace(IDS, f"{IDS}Via: 1.1 haclient|")),
            a.says(OK),
            client.hears(OK.replace("||", "|Via: 1.1 haclient||", 1)),
        )


@pytest.mark.parametrize(
    ("fault", "at"),
    [(Fault(Kill(), AfterRequest()), 0.0), (Fault(Blackhole(), AfterRequest()), 1.1)],
    ids=str,
)
async def test_a_name_with_two_addresses_has_two_chances(
    autojump_clock: MockClock, fault: Fault, at: float
) -> None:
    async with house(fault, **forward("*.test:*")) as h:
        answer = await h.ask(200, at + 0.002, target="http://ab.test/x")

        assert answer.server == "b"
        assert "10.0.0.2:80 answered" in h.told()[0]


async def test_a_post_is_not_sent_twice(autojump_clock: MockClock) -> None:
    async with house(Fault(Kill(), AfterRequest()), **forward("*.test:*")) as h:
        answer = await h.ask(502, 0.0, "POST", "http://ab.test/x", content=b"x")

        assert answer.problem["may_have_been_processed"] is True
        assert h.runs() == ["a"]


@pytest.mark.parametrize(
    ("target", "status", "error", "words"),
    [
        ("/x", 400, "http_request_error", "this is a forward proxy"),
        ("https://a.test/", 501, "http_request_error", "reached by CONNECT"),
        ("http://127.1/", 400, "http_request_error", "ends in a number"),
        ("http://a.example/", 403, "http_request_denied", 'allows it is "a.example:80"'),
        ("http://10.0.0.1/", 403, "http_request_denied", "10.0.0.1:80 is allowed by no rule"),
        ("http://a.test:81/", 403, "http_request_denied", '"*.test:80" is for other ports'),
        ("http://127.0.0.1/", 403, "http_request_denied", "is a loopback address"),
    ],
)
async def test_what_is_refused_asks_nobody(
    autojump_clock: MockClock, target: str, status: int, error: str, words: str
) -> None:
    async with house(**forward("*.test:80")) as h:
        client = h.client()
        head = f"GET {target} HTTP/1.1|Host: x||"
        await play(client.says(head), client.hears_answer(status), client.hears_end())
        answer = client.got

        assert words in answer.problem["detail"]
        assert answer.proxy_status.startswith(f"haclient; error={error}; details=")
        assert answer.is_last
        assert h.resolver.asked == []
        assert h.told() == [f"GET {target} {status} own {error}"]
        assert h.records[0].host == (urlsplit(target).hostname if status == 403 else "")


async def test_what_follows_on_a_refused_request_is_not_read(autojump_clock: MockClock) -> None:
    async with house(**forward("*.test:*")) as h:
        client = h.client()
        refused = "GET http://a.example/ HTTP/1.1|Host: x||"
        await play(client.says(refused + ASKED), client.hears_answer(403), client.hears_end())
        assert len(h.records) == 1


# --- addresses ------------------------------------------------------------------------------------


async def test_an_address_that_is_forbidden_is_not_dialled(autojump_clock: MockClock) -> None:
    async with house(**forward("*.test:*")) as h:
        h.resolver.script("evil.test", Answer("169.254.169.254", "127.0.0.1"))
        answer = await h.ask(403, 0.0, target="http://evil.test/latest/meta-data")

        assert answer.problem["detail"] == (
            "169.254.169.254 (of evil.test) is a cloud's metadata address, which "
            '"*.test:*" leaves out; a rule has to name it, as "169.254.169.254:80"'
        )
        assert answer.proxy_status.startswith("haclient; error=destination_ip_prohibited; ")
        assert h.network.connections == []


async def test_of_several_addresses_only_those_that_are_allowed(autojump_clock: MockClock) -> None:
    async with house(**forward("*.test:*")) as h:
        h.resolver.script(
            "mixed.test", Answer("127.0.0.1", "10.0.0.1", former=("169.254.169.254",))
        )
        h.network.refuse(A)
        await h.ask(502, 0.0, target="http://mixed.test/")

        [attempt] = h.records[0].attempts
        assert [str(each.endpoint) for each in attempt.connection_attempts] == ["10.0.0.1:80"]


async def test_a_name_that_changes_is_judged_again(autojump_clock: MockClock) -> None:
    async with house(**forward("*.test:*")) as h:
        h.resolver.script("evil.test", Answer("10.0.0.1"), Answer("127.0.0.1"))
        await h.ask(200, 0.0, target="http://evil.test/")
        h.network.reset(A)
        await h.settle()
        answer = await h.ask(403, 0.0, target="http://evil.test/")

        assert "127.0.0.1 (of evil.test) is a loopback address" in answer.problem["detail"]
        assert len(h.network.connections) == 1


async def test_a_rule_for_addresses_is_for_whatever_name_has_them(
    autojump_clock: MockClock,
) -> None:
    async with house(**forward("10.0.0.1:80")) as h:
        await h.ask(200, 0.0, target="http://a.test/")
        answer = await h.ask(403, 0.0, target="http://b.test/")

        assert answer.problem["detail"] == (
            "b.test:80 at 10.0.0.2 is allowed by no rule of the list; a rule that allows it is "
            '"b.test:80"'
        )


async def test_a_connection_of_another_list_is_not_taken(autojump_clock: MockClock) -> None:
    async with house(**forward("*.test:*")) as h:
        await h.ask(200, 0.0, target="http://a.test/")
        h.reload(**forward("b.test:80", "10.0.0.0/8:80"))
        await h.ask(200, 0.0, target="http://a.test/")

        assert [each.attempts[0].reused for each in h.records] == [False, False]


async def test_a_list_that_a_reload_shortens_forbids_from_then_on(
    autojump_clock: MockClock,
) -> None:
    async with house(**forward("*.test:*")) as h:
        client, a = h.client(), h.server(A)
        await play(client.says(ASKED), a.hears(PASSED), a.says(OK), client.hears(OK))
        h.reload(**forward("b.test:*"))
        await play(client.says(ASKED), client.hears_answer(403), client.hears_end())


# --- what is remembered ---------------------------------------------------------------------------


async def test_health_is_shared_by_the_requests_of_a_destination(
    autojump_clock: MockClock,
) -> None:
    async with house(Fault(Blackhole(), AfterRequest()), **forward("*.test:*")) as h:
        await h.ask(200, 1.102, target="http://ab.test/x")
        assert (await h.ask(200, 0.001, target="http://ab.test/x")).server == "b"


async def test_destinations_are_bounded(autojump_clock: MockClock) -> None:
    async with house(**forward("*.test:*")) as h:
        client = h.client()
        for number in range(MOST_DESTINATIONS + 9):
            asked = wire(f"GET http://name{number}.test/ HTTP/1.1|Host: x||")
            await play(client.says(asked), client.hears_answer(502))
        destinations = h.gateway.destinations_of(h.door.settings)

        assert len(destinations) == MOST_DESTINATIONS
        assert {record.target for record in h.records} == {"shop"}


async def test_what_only_a_servers_owner_can_say_is_not_said_of_destinations(
    autojump_clock: MockClock,
) -> None:
    async with house(**forward("*.test:*")) as h:
        h.gateway.defaults = Target(
            urls=["http://b.test"],
            backups=["http://c.test"],
            idempotency_key="generate",
            host_header="preserve",
            affinity="client",
            health=HealthRequests(path="/health"),
            window=5.0,
        )
        client, a = h.client(), h.server(A)
        post = f"POST http://a.test/1 HTTP/1.1|Host: other|Content-Length: 0|{IDS}|"
        await play(
            client.says(post),
            a.hears(f"POST /1 HTTP/1.1|Host: a.test|Content-Length: 0|{IDS}|"),
            a.says(OK),
            client.hears(OK),
        )
        destinations = h.gateway.destinations_of(h.door.settings)
        live = destinations.find(Destination("a.test", 80), is_tunnel=False)
        assert isinstance(live, LiveTarget)
        assert live.spec.window == 5.0
        assert live.spec.health is None
        assert live.owners is None
