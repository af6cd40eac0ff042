"""What the admin endpoint answers, over its own sockets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio

from haclient.core.config import UnixBind
from haclient.ops.admin import is_here
from haclient.ops.feed import MAX_READERS
from haclient.ops.status_report import OrderReport, StatusReport
from haclient.types import Endpoint
from tests.support.loopback import eventually
from tests.support.origin import Behaviour, Origin
from tests.support.running import Answer, asked, connected, running

NOBODY_THERE = Endpoint("127.0.0.1", 9)

READ = ["/", "/status", "/metrics", "/healthz", "/readyz", "/config", "/events"]

ORDERS = ["/reload", "/drain"]


async def test_status(nursery: trio.Nursery) -> None:
    bad = await nursery.start(Origin("bad", Behaviour(status=503)).serve)
    good = await nursery.start(Origin("good").serve)
    async with running([bad, good]) as daemon:
        await asked(str(daemon.door), "GET /v1/orders/7?token=abc")
        answer = await asked(daemon.admin.address, "GET /status")
    nursery.cancel_scope.cancel()

    assert (answer.status, answer.fields["content-type"]) == (200, "application/json")
    report = msgspec.json.decode(answer.content, type=StatusReport)
    assert (report.state, report.generation) == ("running", 1)
    assert report.config_file == "/etc/haclient/haclient.toml"
    (target,) = report.targets
    assert (target.name, target.requests, target.failovers, target.resent) == ("a", 1, 1, 1)
    (failover,) = report.last_failovers
    assert (failover.path, failover.to) == ("/v1/orders/7?token=***", str(good))
    assert (failover.source, failover.verdict) == (str(bad), "answered")


async def test_the_probes() -> None:
    async with running([NOBODY_THERE]) as daemon:
        healthz = await asked(daemon.admin.address, "GET /healthz")
        ready = await asked(daemon.admin.address, "GET /readyz")
        daemon.is_ready = False
        starting = await asked(daemon.admin.address, "GET /readyz")
        daemon.sidecar.is_draining = True
        draining = await asked(daemon.admin.address, "GET /readyz")
        status = await asked(daemon.admin.address, "GET /status")

    assert healthz.status == 200
    assert (ready.status, ready.json["is_done"], ready.json["lines"]) == (200, True, ["ready"])
    assert (starting.status, starting.json["is_done"]) == (503, False)
    assert starting.json["lines"] == ["not every listener is open"]
    assert (draining.status, draining.json["lines"]) == (503, ["draining"])
    assert status.json["state"] == "draining"


async def test_orders() -> None:
    async with running([NOBODY_THERE]) as daemon:
        reloaded = await asked(daemon.admin.address, "POST /reload")
        daemon.report = OrderReport(is_done=False, lines=("line 3: …",), generation=1)
        refused = await asked(daemon.admin.address, "POST /reload", content=b"{}")
        daemon.report = OrderReport(is_done=True, lines=("it drains",), generation=1)
        drained = await asked(daemon.admin.address, "POST /drain")

    assert daemon.orders == ["reload", "reload", "drain"]
    assert (reloaded.status, reloaded.json["lines"]) == (200, ["nothing changed"])
    assert (refused.status, refused.json["lines"]) == (409, ["line 3: …"])
    assert (drained.status, drained.json["lines"]) == (202, ["it drains"])


async def test_the_configuration() -> None:
    async with running([NOBODY_THERE]) as daemon:
        answer = await asked(daemon.admin.address, "GET /config")

    assert answer.json["target"]["a"]["urls"] == ["http://a9.internal:9/"]
    assert answer.json["listener"]["a"]["bind"] == "127.0.0.1:0"


async def test_head_is_get_without_content() -> None:
    async with running([NOBODY_THERE]) as daemon:
        answers = [await asked(daemon.admin.address, f"HEAD {path}") for path in READ]

    assert [answer.status for answer in answers] == [200] * len(READ)
    assert [answer.content for answer in answers] == [b""] * len(READ)
    assert int(answers[1].fields["content-length"]) > 100


@pytest.mark.parametrize(
    ("line", "status", "allow"),
    [
        *((f"GET {path}", 405, "post") for path in ORDERS),
        *((f"HEAD {path}", 405, "post") for path in ORDERS),
        *((f"OPTIONS {path}", 405, "post") for path in ORDERS),
        *((f"POST {path}", 405, "get, head") for path in READ),
        ("OPTIONS /status", 405, "get, head"),
        ("GET /nothing", 404, None),
        ("POST /status/", 404, None),
        ("GET //status", 404, None),
        ("GET /../config", 404, None),
        ("PUT /Drain", 404, None),
        ("CONNECT localhost:80", 501, None),
        ("GET status", 400, None),
    ],
)
async def test_what_is_not_there(line: str, status: int, allow: str | None) -> None:
    async with running([NOBODY_THERE]) as daemon:
        answer = await asked(daemon.admin.address, line)

    assert daemon.orders == []
    assert (answer.status, answer.fields.get("allow")) == (status, allow)
    if not line.startswith("HEAD"):
        assert answer.fields["content-type"] == "application/problem+json"
        assert answer.json["status"] == status


async def test_a_query_changes_nothing() -> None:
    async with running([NOBODY_THERE]) as daemon:
        assert (await asked(daemon.admin.address, "GET /healthz?x=1")).status == 200
        assert (await asked(daemon.admin.address, "POST /drain?now")).status == 202


# Whom it is for


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9900", "localhost.", "127.0.0.1", "127.8.9.10:80", "[::1]:9900"],
)
async def test_hosts_that_are_this_machine(host: str) -> None:
    async with running([NOBODY_THERE]) as daemon:
        assert (await asked(daemon.admin.address, "GET /healthz", host=host)).status == 200
        assert (await asked(daemon.admin.address, "POST /drain", host=host)).status == 202


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.localhost", "10.0.0.1", "[::]", "0.0.0.0"],
)
@pytest.mark.parametrize("line", ["GET /status", "GET /nothing", "POST /drain", "GET /"])
async def test_a_name_that_was_made_to_point_here(line: str, host: str) -> None:
    async with running([NOBODY_THERE]) as daemon:
        named = await asked(daemon.admin.address, line, host=host)
        verb, path = line.split(" ")
        whole = await asked(daemon.admin.address, f"{verb} http://{host}{path}")

    assert daemon.orders == []
    assert (named.status, whole.status) == (421, 421)


async def test_a_proxy_before_a_unix_socket_gives_itself_away(tmp_path: Any) -> None:
    async with running([NOBODY_THERE], bind=UnixBind(f"{tmp_path}/admin.sock")) as daemon:
        assert (await asked(daemon.admin.address, "GET /status", host="evil.example")).status == 421
        assert (await asked(daemon.admin.address, "GET /status", host="localhost")).status == 200


async def test_orders_come_from_no_web_page() -> None:
    async with running([NOBODY_THERE]) as daemon:
        own = f"http://{daemon.admin.address}"
        answers = [
            await asked(
                daemon.admin.address, f"POST {path}", f"Origin: {origin}", host=daemon.admin.address
            )
            for path in ORDERS
            for origin in ("https://evil.example", "null", own, "")
        ]

    assert daemon.orders == []
    assert {answer.status for answer in answers} == {403}


async def test_a_page_from_elsewhere_reads_nothing() -> None:
    async with running([NOBODY_THERE]) as daemon:
        address = daemon.admin.address

        async def read(origin: str) -> Answer:
            return await asked(address, "GET /status", f"Origin: {origin}", host=address)

        foreign = [await read("https://evil.example"), await read("null")]
        own = await read(f"http://{address}")

    assert [answer.status for answer in foreign] == [403, 403]
    assert own.status == 200
    for answer in (*foreign, own):
        assert "access-control-allow-origin" not in answer.fields
        assert answer.fields["cross-origin-resource-policy"] == "same-origin"
        assert answer.fields["x-content-type-options"] == "nosniff"
        assert answer.fields["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.localdomain", False),
        ("2130706433", False),
    ],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_here(host) is expected


async def test_a_client_of_http_1_0_needs_no_host() -> None:
    async with running([NOBODY_THERE]) as daemon:
        stream = await connected(daemon.admin.address)
        async with stream:
            await stream.send_all(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = Answer(b"".join([piece async for piece in stream]))

    assert (answer.status, answer.fields["connection"]) == (200, "close")


# Events


class Listener:
    """A reader of /events, piece by piece."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._data = b""

    async def block(self) -> str:
        """The next block, which ends in an empty line."""
        with trio.fail_after(10):
            while b"\n\n" not in self._data:
                piece = await self.stream.receive_some()
                assert piece, f"ended behind {self._data!r}"
                self._data += piece.replace(b"\r\n", b"\n")
        block, _, self._data = self._data.partition(b"\n\n")
        return block.decode()

    async def event(self) -> tuple[str, Any, int]:
        """Kind, data and id of the next event."""
        while (block := await self.block()).startswith(":"):
            pass
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        return lines["event"], json.loads(lines["data"]), int(lines["id"])


async def listening(address: str, *fields: str) -> Listener:
    stream = await connected(address)
    lines = ["GET /events HTTP/1.1", "Host: localhost", *fields, "", ""]
    await stream.send_all("\r\n".join(lines).encode())
    listener = Listener(stream)
    head = await listener.block()
    assert head.startswith("HTTP/1.1 200 ")
    assert "Content-Type: text/event-stream" in head
    assert await listener.block() == "retry: 2000"
    return listener


async def test_a_failover_is_an_event(nursery: trio.Nursery) -> None:
    bad = await nursery.start(Origin("bad", Behaviour(status=503)).serve)
    good = await nursery.start(Origin("good").serve)
    async with running([bad, good]) as daemon:
        listener = await listening(daemon.admin.address)
        await asked(str(daemon.door), "GET /7")
        kind, data, _ = await listener.event()
        await listener.stream.aclose()
    nursery.cancel_scope.cancel()

    assert kind == "failover"
    assert (data["path"], data["from"], data["to"]) == ("/7", str(bad), str(good))


async def test_an_address_that_fails_is_an_event(nursery: trio.Nursery) -> None:
    good = await nursery.start(Origin("good").serve)
    async with running([good]) as daemon:
        listener = await listening(daemon.admin.address)
        await asked(str(daemon.door), "GET /")
        kind, names, _ = await listener.event()
        health = daemon.sidecar.gateway.engine.health
        health.report_failure(good, trio.current_time(), 0)
        second, down, _ = await listener.event()
        health.report_success(good, trio.current_time(), health.generation(good))
        third, up, _ = await listener.event()
        await listener.stream.aclose()
    nursery.cancel_scope.cancel()

    assert (kind, second, third) == ("names", "health", "health")
    assert (names["target"], names["addresses"], names["was"]) == ("a", [str(good)], [])
    assert (down["address"], down["targets"]) == (str(good), ["a"])
    assert (down["was"], down["state"], down["failures"]) == ("ok", "held down", 1)
    assert 0 < down["held_for"] <= 5
    assert (up["was"], up["state"], up["held_for"]) == ("held down", "ok", None)


async def test_orders_are_events_whoever_gave_them() -> None:
    async with running([NOBODY_THERE]) as daemon:
        listener = await listening(daemon.admin.address)
        daemon.book.tell_order("reload", OrderReport(is_done=False, lines=("no",), generation=3))
        kind, data, _ = await listener.event()
        await listener.stream.aclose()

    assert (kind, data) == ("reload", {"is_done": False, "lines": ["no"], "generation": 3})


async def test_who_comes_back_misses_nothing() -> None:
    async with running([NOBODY_THERE]) as daemon:
        first = await listening(daemon.admin.address)
        daemon.book.feed.publish("drain", 1)
        _, _, seen = await first.event()
        await first.stream.aclose()
        daemon.book.feed.publish("drain", 2)
        again = await listening(daemon.admin.address, f"Last-Event-ID: {seen}")
        assert await again.event() == ("drain", 2, seen + 1)
        odd = await listening(daemon.admin.address, "Last-Event-ID: abc")
        daemon.book.feed.publish("drain", 3)
        assert (await odd.event())[1] == 3
        for listener in (again, odd):
            await listener.stream.aclose()


async def test_no_more_listen_than_may() -> None:
    async with running([NOBODY_THERE]) as daemon:
        listeners = [await listening(daemon.admin.address) for _ in range(MAX_READERS)]
        refused = await asked(daemon.admin.address, "GET /events")
        assert (refused.status, refused.fields["retry-after"]) == (503, "5")

        await listeners[0].stream.aclose()
        feed = daemon.book.feed
        await eventually(lambda: feed.readers < MAX_READERS, within=5)
        listeners[0] = await listening(daemon.admin.address)
        for listener in listeners:
            await listener.stream.aclose()
        await eventually(lambda: feed.readers == 0, within=5)
