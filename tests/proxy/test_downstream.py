"""A connection and its door: what is counted and told, and a fault that ends one and no other."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.config import Route
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.types import Endpoint
from tests.engine.tls_origin import SECURE, TlsOrigin
from tests.proxy.house import BOTH, IDS, A, house
from tests.proxy.playbook import play
from tests.sim.origin import Reply

GET = f"GET /x?y=1 HTTP/1.1|Host: Shop:8080|{IDS}|"
OK = "HTTP/1.1 200 OK|Content-Length: 2||hi"


# --- what is told ---------------------------------------------------------------------------------


async def test_the_record_of_an_exchange(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        head = "HTTP/1.1 203 Fine|Content-Length: 4||"
        await play(
            client.says(
                GET.replace("GET", "PUT").replace("Host", "Content-Length: 3|Host") + "abc"
            ).at(1.0),
            a.accepts(),
            a.hears("abc"),
            a.says(head + "de").at(2.0),
            client.hears(head + "de"),
            a.says("fg").at(3.0),
            client.hears("fg"),
        )
        [record] = h.records
        attempts = record.attempts
        assert record == ExchangeRecord(
            listener="shop",
            target="main",
            client="127.0.0.1:50001",
            request_id="7",
            method="PUT",
            path="/x?y=1",
            host="Shop:8080",
            http_version="1.1",
            status=203,
            outcome=Outcome.ANSWERED,
            began_at=1.0,
            head_at=2.0,
            ended_at=3.0,
            request_bytes=3,
            response_bytes=4,
            attempts=attempts,
        )
        assert [str(one.endpoint) for one in attempts] == ["10.0.0.1:80"]


async def test_the_record_of_a_refusal(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(
            client.says("BREW pot HTTP/1.1|Host: shop|X-Request-Id: mine||").at(1.0),
            client.hears_answer(400, "BREW"),
            client.hears_end(),
        )
        [record] = h.records
        assert client.got.value("X-Request-Id") == client.got.problem["request_id"] == "mine"
        assert record == ExchangeRecord(
            listener="shop",
            target="",
            client="127.0.0.1:50001",
            request_id="mine",
            method="BREW",
            path="pot",
            host="",
            http_version="1.1",
            status=400,
            outcome=Outcome.OWN,
            began_at=1.0,
            ended_at=1.0,
            head_at=1.0,
            response_bytes=len(client.got.content),
            error="http_request_error",
            detail="the request target is no path that begins with a slash, nor a URL",
        )


async def test_what_cannot_be_read_is_quoted_without_python(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(client.says("garbage||"), client.hears_answer(400), client.hears_end())
        assert client.got.problem["detail"] == 'illegal request line: "garbage"'


async def test_a_late_head_counts_from_its_first_byte(autojump_clock: MockClock) -> None:
    async with house(header_timeout=3.0) as h:
        client = h.client()
        await play(
            client.says("GET / HT").at(1.0),
            client.hears_answer(408).at(4.0),
            client.hears_end(),
        )
        [record] = h.records
        assert record.began_at == 1.0
        assert 4.0 <= record.ended_at <= 4.5
        assert record.request_id == client.got.value("X-Request-Id") != ""


@pytest.mark.parametrize("sent", ["X-Request-Id: mine|", ""])
async def test_what_no_route_takes_has_an_id(autojump_clock: MockClock, sent: str) -> None:
    async with house() as h:
        h.reload(target=None, routes=(Route(target="main", path="/other"),))
        client = h.client()
        await play(client.says(f"GET / HTTP/1.1|Host: shop|{sent}|"), client.hears_answer(404))
        [record] = h.records
        assert record.request_id == client.got.problem["request_id"]
        assert record.request_id == client.got.value("X-Request-Id")
        assert (record.request_id == "mine") is bool(sent)
        assert record.response_bytes == len(client.got.content)


async def test_a_client_without_an_address(autojump_clock: MockClock) -> None:
    async with house(forwarded=True) as h:
        client, a = h.client(address=Endpoint("/", 0)), h.server(A)
        await play(
            client.says(GET),
            a.hears(
                f"GET /x?y=1 HTTP/1.1|Host: ab.test|{IDS}"
                'Forwarded: for=unknown;host="Shop:8080";proto=http||'
            ),
            a.says(OK),
            client.hears(OK),
        )
        assert h.records[0].client == "unix"


async def test_a_door_counts(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(think=1.0)
        clients = [h.client(f"client {number}") for number in range(3)]
        await play(*(client.says(GET) for client in clients[:2]))
        assert len(h.door.inside) == 3
        assert h.door.outstanding == 2
        assert repr(h.door) == "<Door shop at 127.0.0.1:8080, 3 inside>"
        assert min(map(repr, h.door.inside)) == "<ClientSide 127.0.0.1:50001 at shop>"
        await play(*(client.hears_answer(200).at(1.0) for client in clients[:2]))
        await play(
            clients[2].says("GET x HTTP/1.1||"),
            clients[2].hears_answer(400),
            clients[2].hears_end(),
        )
        assert (h.door.outstanding, h.door.requests) == (0, 2)


# --- faults of ours -------------------------------------------------------------------------------


async def test_a_fault_ends_one_connection_and_no_other(autojump_clock: MockClock) -> None:
    def fail(record: ExchangeRecord) -> None:
        raise LookupError("a fault of ours")

    async with house() as h:
        h.a.reply = Reply(think=1.0)
        unlucky, other = h.client("unlucky"), h.client("other")
        told = h.gateway.tell
        await play(unlucky.says(GET), other.says(GET))
        await trio.sleep(0.9)
        h.gateway.tell = lambda record: (
            fail(record) if record.client.endswith("50001") else told(record)
        )
        await play(unlucky.hears_answer(200).at(1.0), unlucky.hears_end(), other.hears_answer(200))
        assert [str(fault) for fault in h.faults] == ["a fault of ours"]
        h.faults.clear()
        h.gateway.tell = told
        assert (await h.ask(200, 1.0)).server == "a"


# --- servers that speak TLS -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> TlsOrigin:
    return TlsOrigin(tmp_path_factory.mktemp("authority"))


async def test_a_server_behind_tls(autojump_clock: MockClock, secure: TlsOrigin) -> None:
    async with house(target=secure.target) as h:
        listener = h.network.listen(SECURE)

        async def serve() -> None:
            await secure.script(await listener.accept())

        h.serve_beside(serve)
        client = h.client()
        put = "PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: chunked||5|hello|0||"
        await play(
            client.says(put),
            client.hears_answer(200),
            client.says("GET /y HTTP/1.1|Host: shop||"),
            client.hears_answer(200),
        )
        assert secure.executed[-2:] == [b"PUT /x hello", b"GET /y "]
        assert [record.attempts[0].reused for record in h.records] == [False, True]


async def test_a_tunnel_through_tls(autojump_clock: MockClock, secure: TlsOrigin) -> None:
    """TLS has no half that could be closed: a client's end is the end of both."""
    heard: list[bytes] = []
    async with house(target=secure.target) as h:
        listener = h.network.listen(SECURE)

        async def serve() -> None:
            stream = await listener.accept()
            tls = trio.SSLStream(stream, secure.context, server_side=True)
            try:
                await tls.receive_some()
                await tls.send_all(
                    b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nsoon"
                )
                while data := await tls.receive_some():
                    heard.append(bytes(data))
            except trio.BrokenResourceError:
                heard.append(b"broken")
            finally:
                stream.close()

        h.serve_beside(serve)
        client = h.client()
        switched = "HTTP/1.1 101 Switching|Connection: Upgrade|Upgrade: x||"
        await play(
            client.says(GET.replace("Host", "Connection: Upgrade|Upgrade: x|Host")),
            client.hears(switched + "soon"),
            client.says("ping"),
            client.half_closes().at(1.1),
            client.hears_end(),
        )
        await h.settle()
        assert heard == [b"ping", b"broken"]


async def test_both_of_two_names_for_one_target(autojump_clock: MockClock) -> None:
    """Whatever Host a client sends, the target is the door's."""
    async with house(target=BOTH) as h:
        for host in ("a", "b.example:1", "[::1]:8080", "10.0.0.1"):
            client = h.client()
            await play(client.says(f"GET / HTTP/1.1|Host: {host}|{IDS}|"), client.hears_answer(200))
        assert [record.host for record in h.records] == [
            "a",
            "b.example:1",
            "[::1]:8080",
            "10.0.0.1",
        ]
        assert {request.value(b"host") for request in h.a.executed} == {b"ab.test"}
