"""The library's face: what a caller may ask, and what it is told where it may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import haclient
from haclient.client import MAX_LIVE_TARGETS, Client
from haclient.core.spec import IdempotencyKey, Target
from haclient.core.url import Url
from haclient.errors import BadRequestError, ServerDiedError, UrlError
from haclient.types import Verdict
from tests.engine.world import BOTH, ONE, A, B, world
from tests.sim.dns import ScriptedResolver
from tests.sim.effects import AfterRequest, Fault, Reset
from tests.sim.network import SimNetwork
from tests.sim.origin import Reply


@asynccontextmanager
async def idle_client(**settings: Any) -> AsyncIterator[Client]:
    """One that is never asked for anything."""
    async with Client(resolver=ScriptedResolver(), dialer=SimNetwork(), **settings) as client:
        yield client


class TestRequests:
    @pytest.mark.parametrize("method", ["get", "head", "post", "put", "delete"])
    async def test_a_method_for_each_method(self, autojump_clock: MockClock, method: str) -> None:
        async with world() as w:
            response = await getattr(w.client, method)("http://a.test/x", timeout=1.0)
            assert response.status == 200
            [request] = w.a.executed
            assert request.method == method.upper().encode()

    async def test_any_other(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            await w.client.request("PROPFIND", "http://a.test/x")
            assert w.a.executed[0].method == b"PROPFIND"

    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("http://", UrlError),
            ("ftp://a.test/", haclient.UnsupportedSchemeError),
            ("/x", UrlError),
        ],
    )
    async def test_what_is_no_url(
        self, autojump_clock: MockClock, url: str, kind: type[Exception]
    ) -> None:
        async with world() as w:
            with pytest.raises(kind):
                await w.client.get(url)

    async def test_what_is_no_method(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            outcome = await w.ask("GE T", target=ONE)
            assert type(outcome.error) is BadRequestError
            assert "the method 'GE T' is not a token" in str(outcome.error)


class TestFields:
    @pytest.mark.parametrize(
        "headers",
        [{"X-A": "1", "accept": "text/plain"}, [("X-A", "1"), ("accept", "text/plain")]],
        ids=["a mapping", "pairs"],
    )
    async def test_what_is_missing_is_added(self, autojump_clock: MockClock, headers: Any) -> None:
        async with world() as w:
            await w.client.get("http://a.test/", headers=headers)
            names = [name for name, _ in w.a.executed[0].fields]
            assert names == [b"Host", b"User-Agent", b"X-A", b"accept"]

    async def test_none_at_all(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            await w.client.get("http://a.test/")
            names = [name for name, _ in w.a.executed[0].fields]
            assert names == [b"Host", b"User-Agent", b"Accept"]
            agent = w.a.executed[0].value(b"user-agent")
            assert agent == f"haclient/{haclient.__version__}".encode()

    async def test_pairs_of_bytes_go_out_as_they_are(self, autojump_clock: MockClock) -> None:
        fields = ((b"hOST", b"elsewhere.test"), (b"X-A", b"\xe4"))
        async with world() as w:
            await w.client.get("http://a.test/", headers=fields)
            assert w.a.executed[0].fields == fields

    @pytest.mark.parametrize("headers", [{"X-A": "\u20ac"}, {"X-\u20ac": "a"}])
    async def test_what_latin_1_does_not_have(
        self, autojump_clock: MockClock, headers: dict[str, str]
    ) -> None:
        async with world() as w:
            with pytest.raises(BadRequestError, match="is not Latin-1"):
                await w.client.get("http://a.test/", headers=headers)

    @pytest.mark.parametrize("headers", [{"X-A": 5}, [(b"X-A", b"5")]], ids=["a number", "bytes"])
    async def test_what_is_no_text(self, autojump_clock: MockClock, headers: Any) -> None:
        async with world() as w:
            with pytest.raises(BadRequestError, match="header fields must be texts"):
                await w.client.get("http://a.test/", headers=headers)


class TestTargets:
    def test_a_url_is_no_target(self) -> None:
        with pytest.raises(TypeError, match=r"must be a Target, as Target\(urls="):
            Client("http://a.test/")  # type: ignore[arg-type]

    async def test_a_server_of_another_protocol_is_asked_nothing(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            with pytest.raises(haclient.UnsupportedSchemeError, match="a Client speaks HTTP"):
                await w.client.get("/x", target=Target(urls=["tcp://a.test:80"]))
            assert not w.network.connections

    async def test_a_path_is_for_the_clients_own(self, autojump_clock: MockClock) -> None:
        async with world(target=Target(urls=["http://b.test/api"])) as w:
            assert (await w.ask("GET", "/x")).server == "b"
            assert w.b.executed[0].target == b"/api/x"
            # A URL is asked itself, and another target is another target.
            assert (await w.ask("GET", "http://a.test/x")).server == "a"
            assert (await w.ask("GET", "/x", target=ONE)).server == "a"

    @pytest.mark.parametrize("url", ["http://a.test/x", "x", ""])
    async def test_with_a_target_a_path_is_asked_for(
        self, autojump_clock: MockClock, url: str
    ) -> None:
        async with world() as w:
            with pytest.raises(UrlError, match="with a target a path is asked for"):
                await w.client.get(url, target=ONE)

    async def test_settings_are_for_urls_without_a_target(self, autojump_clock: MockClock) -> None:
        async with world(connect_timeout=0.3, max_attempts=1) as w:
            w.network.blackhole(A)
            w.network.blackhole(B)
            assert (await w.ask("GET", "http://ab.test/")).took == pytest.approx(0.3)
            target = Target(urls=BOTH.urls, connect_timeout=0.7, max_attempts=1)
            assert (await w.ask("GET", target=target)).took == pytest.approx(0.7)

    def test_a_bad_setting_is_refused_before_it_is_used(self) -> None:
        with pytest.raises(ValueError, match="window must be more than 0"):
            Client(window=0.0)

    @pytest.mark.parametrize(
        ("honours", "verdicts"),
        [
            (IdempotencyKey.HONOUR, [Verdict.CLOSED, Verdict.ANSWERED]),
            (IdempotencyKey.IGNORE, [Verdict.CLOSED]),
        ],
    )
    async def test_whether_a_key_is_honoured(
        self, autojump_clock: MockClock, honours: IdempotencyKey, verdicts: list[Verdict]
    ) -> None:
        async with world(Fault(Reset(), AfterRequest())) as w:
            target = Target(urls=BOTH.urls, idempotency_key=honours)
            key = {"idempotency-KEY": "7"}
            outcome = await w.ask("POST", target=target, headers=key)
            assert outcome.verdicts == verdicts

    async def test_the_number_of_origins_in_mind_is_bounded(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            for n in range(MAX_LIVE_TARGETS + 10):
                await w.request("GET", f"http://10.2.0.{n % 200}:{1000 + n}/")
            assert len(w.client._live) == MAX_LIVE_TARGETS


class TestProxy:
    async def test_a_function_says_which_one(self, autojump_clock: MockClock) -> None:
        asked: list[str] = []

        def proxy_for(url: Url) -> str | None:
            asked.append(url.origin.host)
            return "http://c.test/" if url.origin.host == "a.test" else None

        async with world(proxy=proxy_for) as w:
            assert (await w.ask("GET", "http://a.test/")).server == "c"
            assert (await w.ask("GET", "http://b.test/")).server == "b"
            assert asked == ["a.test", "b.test"]


class TestLife:
    def test_it_needs_trio(self) -> None:
        entering = Client().__aenter__()
        with pytest.raises(RuntimeError, match="runs on trio, not on asyncio"):
            entering.send(None)

    async def test_it_serves_inside_its_block_only(self, autojump_clock: MockClock) -> None:
        client = Client(resolver=ScriptedResolver(), dialer=SimNetwork())
        with pytest.raises(RuntimeError, match="inside its `async with` block only"):
            await client.get("http://a.test/")

    async def test_and_not_after_it_either(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            await w.ask("GET", "http://a.test/")
        with pytest.raises(RuntimeError, match="inside its `async with` block only"):
            await w.client.get("http://a.test/")

    async def test_a_second_block_begins_anew(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            await w.ask("GET", "http://a.test/")
            client = Client(resolver=w.resolver, dialer=w.network)
            for _ in range(2):
                async with client:
                    response = await client.get("http://a.test/")
                    assert not response.attempts[0].reused

    async def test_the_bodys_error_arrives_bare(self, autojump_clock: MockClock) -> None:
        with pytest.raises(LookupError, match="mine"):
            async with idle_client():
                raise LookupError("mine")

    async def test_so_does_one_that_comes_from_a_nursery_of_its_own(
        self, autojump_clock: MockClock
    ) -> None:
        with pytest.raises(ExceptionGroup) as raised:
            async with idle_client(), trio.open_nursery():
                raise LookupError("mine")
        assert [type(one) for one in raised.value.exceptions] == [LookupError]

    async def test_cancelled_from_outside(self, autojump_clock: MockClock) -> None:
        with trio.move_on_after(1.0) as scope:
            async with idle_client():
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() == 1.0

    async def test_cancelled_with_an_error_of_its_own_on_the_way(
        self, autojump_clock: MockClock
    ) -> None:
        """Both are told: the cancellation to its scope, the error to whoever listens."""

        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError("on the way out")

        with pytest.RaisesGroup(LookupError, flatten_subgroups=True, allow_unwrapped=True):
            with trio.move_on_after(1.0):
                async with idle_client(), trio.open_nursery() as nursery:
                    nursery.start_soon(fail_when_cancelled)
                    await trio.sleep_forever()

    async def test_what_is_outstanding_when_it_ends_gets_an_error(
        self, autojump_clock: MockClock
    ) -> None:
        errors: list[BaseException] = []
        async with trio.open_nursery() as nursery, world() as w:
            w.a.reply = Reply(think=60.0)

            async def ask(client: Client = w.client) -> None:
                try:
                    await client.get("http://a.test/")
                except haclient.Error as exc:
                    errors.append(exc)

            nursery.start_soon(ask)
            await trio.sleep(1.0)
            w.engine.close()
            await trio.sleep(1.0)
        assert [type(error) for error in errors] == [ServerDiedError]

    async def test_the_machines_own_edges_are_the_default(self) -> None:
        """A literal address needs no name server; nobody listens on port 1 of loopback."""
        async with Client() as client:
            with pytest.raises(haclient.ConnectError):
                await client.get("http://127.0.0.1:1/")
