"""What /status says of a data plane that is there."""

from __future__ import annotations

import msgspec
import trio

from haclient.core.config import Mode
from haclient.core.health_check import HealthCheck, Result
from haclient.core.spec import HealthRequests, Target
from haclient.engine.checks import Checked
from haclient.engine.health_request import Told
from haclient.net import NameReport
from haclient.ops.status_build import build_status, stale_served
from haclient.ops.status_report import DnsReport, EndpointReport, StatusReport
from haclient.types import Endpoint, Instant
from tests.support.loopback import eventually
from tests.support.origin import Behaviour, Origin
from tests.support.running import Running, asked, connected, running

A = Endpoint("127.0.0.1", 9)

STARTED_AT = 1_795_780_800.0


def built(daemon: Running) -> StatusReport:
    return build_status(daemon, daemon.book, STARTED_AT + 90)


def endpoints(daemon: Running) -> tuple[EndpointReport, ...]:
    return built(daemon).targets[0].endpoints


async def test_before_anybody_asked(nursery: trio.Nursery) -> None:
    async with running([Endpoint("127.0.0.1", 9)]) as daemon:
        report = built(daemon)

    assert (report.state, report.uptime, report.outstanding) == ("running", 90.0, 0)
    assert (report.started_at, report.replay_bytes, report.dns) == (STARTED_AT, 0, ())
    (target,) = report.targets
    assert (target.name, target.requests, target.budget_remaining) == ("a", 0, 1.0)
    assert target.endpoints == ()
    (listener,) = report.listeners
    assert (listener.name, listener.bind, listener.limit) == ("a", str(daemon.door), 4096)


async def test_a_clock_that_was_set_back_makes_no_negative_uptime() -> None:
    async with running([Endpoint("127.0.0.1", 9)]) as daemon:
        assert build_status(daemon, daemon.book, STARTED_AT - 5).uptime == 0.0


async def test_what_is_outstanding(nursery: trio.Nursery) -> None:
    origin = Origin("slow", Behaviour(think=30))
    endpoint = await nursery.start(origin.serve)
    async with running([endpoint], [endpoint]) as daemon:
        for _ in range(2):
            nursery.start_soon(asked, str(daemon.door), "GET /")
        await eventually(lambda: origin.executed == 2, within=5)
        report = built(daemon)
        nursery.cancel_scope.cancel()

    assert report.outstanding == 2
    assert [target.outstanding for target in report.targets] == [2, 0]
    assert [listener.outstanding for listener in report.listeners] == [2, 0]
    assert report.listeners[0].connections == 2
    assert report.targets[0].endpoints[0].leased == 2


async def test_a_tunnel_is_outstanding(nursery: trio.Nursery) -> None:
    endpoint = await nursery.start(Origin("any").serve)
    async with running([endpoint], mode=Mode.TCP) as daemon:
        async with await connected(str(daemon.door)):
            await eventually(lambda: built(daemon).targets[0].endpoints != (), within=5)
            await eventually(lambda: built(daemon).targets[0].endpoints[0].leased == 1, within=5)
            report = built(daemon)
        await eventually(lambda: built(daemon).outstanding == 0, within=5)

    assert (report.outstanding, report.targets[0].outstanding) == (1, 1)
    assert (report.listeners[0].outstanding, report.listeners[0].requests) == (1, 1)


async def test_addresses_and_what_is_thought_of_them(nursery: trio.Nursery) -> None:
    one = await nursery.start(Origin("one").serve)
    two = await nursery.start(Origin("two").serve)
    async with running([one, two]) as daemon:
        await asked(str(daemon.door), "GET /")
        health, now = daemon.sidecar.gateway.engine.health, trio.current_time()
        health.report_failure(one, now, 0)
        health.report_suspect(two, now, 0)
        first, second = endpoints(daemon)
        health.report_success(one, now, health.generation(one))
        health.report_success(two, now, health.generation(two))
        after = [each.state for each in endpoints(daemon)]
    nursery.cancel_scope.cancel()

    assert (first.address, first.state, first.failures) == (str(one), "held down", 1)
    assert first.origin == f"http://a{one.port}.internal:{one.port}"
    assert first.held_for is not None
    assert 0 < first.held_for <= 5
    assert (second.address, second.state, second.held_for) == (str(two), "suspect", None)
    assert first.idle + second.idle == 1
    assert after == ["ok", "untried"]


async def test_literals_and_backups_are_known_beforehand(nursery: trio.Nursery) -> None:
    async with running([Endpoint("127.0.0.1", 9)]) as daemon:
        config = daemon.sidecar.config
        target = Target(
            urls=["http://127.0.0.1:9/v1", "http://127.0.0.1:9/v2", "http://a.internal"],
            backups=["https://[::1]"],
        )
        daemon.sidecar.apply(msgspec.structs.replace(config, targets={"a": target}))
        found = endpoints(daemon)

    assert [(each.address, each.origin, each.tier, each.source) for each in found] == [
        ("127.0.0.1:9", "http://127.0.0.1:9", 0, "literal"),
        ("[::1]:443", "https://[::1]", 1, "literal"),
    ]


async def test_a_door_that_is_gone_is_not_listed(nursery: trio.Nursery) -> None:
    origin = Origin("slow", Behaviour(think=30))
    endpoint = await nursery.start(origin.serve)
    async with running([endpoint], [endpoint]) as daemon:
        nursery.start_soon(asked, daemon.sidecar.doors[1].address, "GET /")
        await eventually(lambda: origin.executed == 1, within=5)
        config = daemon.sidecar.config
        daemon.sidecar.apply(msgspec.structs.replace(config, listeners=config.listeners[:1]))
        while_inside = [each.name for each in built(daemon).listeners]
        nursery.cancel_scope.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()
        with trio.CancelScope(shield=True):
            await eventually(lambda: len(built(daemon).listeners) == 1, within=5)

    assert while_inside == ["a", "b"]


async def test_a_resolver_that_tells(nursery: trio.Nursery) -> None:
    name = NameReport("a.internal", ("10.0.0.2",), "dns 10.0.0.53", -3.00049, True, "SERVFAIL")

    class Telling:
        stale_served = 3

        def report(self, now: Instant) -> tuple[NameReport, ...]:
            return (name,)

    async with running([Endpoint("127.0.0.1", 9)]) as daemon:
        engine = daemon.sidecar.gateway.engine
        assert stale_served(engine) == 0
        engine.resolver = Telling()  # type: ignore[assignment]
        assert stale_served(engine) == 3
        assert built(daemon).dns == (
            DnsReport(
                name="a.internal",
                addresses=("10.0.0.2",),
                source="dns 10.0.0.53",
                ttl=-3.0,
                is_stale=True,
                error="SERVFAIL",
            ),
        )


async def test_it_holds_no_more_than_json_can() -> None:
    async with running([Endpoint("127.0.0.1", 9)]) as daemon:
        report = built(daemon)
        assert msgspec.json.decode(msgspec.json.encode(report), type=StatusReport) == report


async def test_a_health_request_that_takes_another_one(nursery: trio.Nursery) -> None:
    """An address that is unavailable, and answered with 200, would be a riddle."""
    health = HealthRequests(path="/health", interval=1000.0)
    async with running([A], health=health) as daemon:
        live = daemon.sidecar.gateway.targets["a"]
        assert live.checks is not None
        [origin] = [url.origin for url in live.spec.urls]
        live.known[origin] = (A,)
        check, told = HealthCheck(health, 0.0, 0.5), Told(Result.OK, "answered with 200")
        live.checks.by_endpoint[A] = Checked(origin, A, check, trio.CancelScope(), told)
        seen = []
        for _ in range(2):
            check.began(0.0)
            check.ended(Result.OK, 0.0, 0.5)
            seen.append(endpoints(daemon)[0].health)
    assert seen == ["answered with 200 (1 of 2 in a row)", "answered with 200"]
