"""What a user may say of a target, what it becomes, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.affinity import NO_AFFINITY, Affinity, AffinityKind
from haclient.core.spec import (
    RESPONSE_TIMEOUT,
    HealthRequests,
    IdempotencyKey,
    Order,
    Target,
    TlsSettings,
    as_urls,
)
from haclient.core.url import Url, parse_url
from haclient.errors import UrlError

ORDERS = "http://orders.internal:8080"


def make(**settings: Any) -> Target:
    """What a configuration file would give: any type at all."""
    return Target(**{"urls": [ORDERS], **settings})


def test_a_url_may_be_a_services() -> None:
    target = Target(urls="srv+http://_orders._tcp.internal/v1")
    assert str(target.urls[0]) == "srv+http://_orders._tcp.internal/v1"


def test_a_url_is_all_it_takes() -> None:
    target = Target(urls=ORDERS)
    assert target.urls == (parse_url(ORDERS),)
    assert target.backups == ()
    assert target.order is Order.FASTEST
    assert (target.window, target.connect_timeout) == (4.0, 1.0)
    assert target.response_timeout == RESPONSE_TIMEOUT
    assert target.connection_attempt_delay == 0.0
    assert (target.race_width, target.max_attempts, target.max_connections) == (8, 3, 256)
    assert target.failover_statuses == {502, 503, 504}
    assert (target.retry_budget, target.replay_limit) == (0.2, 1 << 20)
    assert target.idempotency_key is IdempotencyKey.HONOUR
    assert target.affinity == NO_AFFINITY
    assert target.pool_idle_timeout == 15.0
    assert target.tls == TlsSettings()
    assert target.tls.verify


@pytest.mark.parametrize("given", ["cookie:sid", Affinity(AffinityKind.COOKIE, "sid")])
def test_an_affinity_is_given_as_a_text_or_a_value(given: object) -> None:
    assert make(affinity=given).affinity == Affinity(AffinityKind.COOKIE, "sid")


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        pytest.param(ORDERS, [ORDERS], id="a string"),
        pytest.param(parse_url(ORDERS), [ORDERS], id="a Url"),
        pytest.param(
            [ORDERS, parse_url("https://b.test")], [ORDERS, "https://b.test"], id="a list"
        ),
        pytest.param((ORDERS,), [ORDERS], id="a tuple"),
        pytest.param([], [], id="none at all"),
    ],
)
def test_urls_may_be_given_in_many_ways(urls: object, expected: list[str]) -> None:
    assert as_urls(urls) == tuple(parse_url(url) for url in expected)


def test_strings_become_values() -> None:
    target = make(
        urls=[ORDERS, "http://orders-b.internal"],
        backups="https://orders-dr.internal/v1",
        order="shuffled",
        idempotency_key="ignore",
        failover_statuses=[503, 503, 429],
    )
    assert [url.origin.host for url in target.urls] == ["orders.internal", "orders-b.internal"]
    assert all(isinstance(url, Url) for url in (*target.urls, *target.backups))
    assert target.backups[0].path_and_query == "/v1"
    assert target.order is Order.SHUFFLED
    assert target.idempotency_key is IdempotencyKey.IGNORE
    assert target.failover_statuses == frozenset({429, 503})


def test_a_target_is_a_value() -> None:
    """Equal when it says the same, however it was said, and nobody changes it."""
    target = make(order="listed")
    assert target == Target(urls=(parse_url(ORDERS),), order=Order.LISTED)
    assert hash(target) == hash(make(order="listed"))
    with pytest.raises(AttributeError):
        target.window = 5.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"urls": []}, "urls must name at least one URL", id="no URL"),
        pytest.param(
            {"urls": ["tcp://a.test:1"], "backups": ["http://a.test"]},
            "urls and backups must all be tcp:// or none of them",
            id="two protocols",
        ),
        pytest.param(
            {"window": 0}, "window must be more than 0 seconds, not 0", id="no window at all"
        ),
        pytest.param(
            {"response_timeout": -1.0},
            "response_timeout must be more than 0 seconds, not -1.0",
            id="a back-stop in the past",
        ),
        pytest.param(
            {"connect_timeout": math.inf},
            "connect_timeout must be more than 0 seconds, not inf",
            id="a connect for ever",
        ),
        pytest.param(
            {"window": math.nan},
            "window must be more than 0 seconds, not nan",
            id="a window that is no number",
        ),
        pytest.param({"race_width": 0}, "race_width must be at least 1, not 0", id="nobody races"),
        pytest.param(
            {"max_attempts": 0}, "max_attempts must be at least 1, not 0", id="not one attempt"
        ),
        pytest.param(
            {"max_connections": -3},
            "max_connections must be at least 1, not -3",
            id="fewer than no connections",
        ),
        pytest.param(
            {"connection_attempt_delay": -0.25},
            "connection_attempt_delay must not be negative, not -0.25",
            id="a racer before its time",
        ),
        pytest.param(
            {"retry_budget": -0.1}, "retry_budget must not be negative, not -0.1", id="a debt"
        ),
        pytest.param(
            {"replay_limit": -1}, "replay_limit must not be negative, not -1", id="less than empty"
        ),
        pytest.param(
            {"pool_idle_timeout": -1},
            "pool_idle_timeout must not be negative, not -1",
            id="closed before it is idle",
        ),
        pytest.param(
            {"order": "random"}, "'random' is not a valid Order", id="an order that is none"
        ),
        pytest.param(
            {"urls": ["tcp://a.test:1"], "affinity": "cookie:sid"},
            'affinity must be "none" or "client" where the urls are tcp://: there are no cookies and fields',
            id="a cookie where there is no HTTP",
        ),
        pytest.param(
            {"affinity": "moon"},
            'it is "none", "client", "cookie:NAME" or "header:NAME"',
            id="an affinity that is none",
        ),
        pytest.param(
            {"idempotency_key": "maybe"},
            "'maybe' is not a valid IdempotencyKey",
            id="a word for the field that is none",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        make(**settings)
    assert str(refused.value) == message


@pytest.mark.parametrize("key", ["urls", "backups"])
def test_a_malformed_url_is_refused(key: str) -> None:
    with pytest.raises(UrlError, match="the port '0'"):
        make(**{key: ["http://a.test:0"]})


@pytest.mark.parametrize("urls", [None, 80, b"http://a.test", {"url": ORDERS}])
def test_urls_of_another_type_are_refused(urls: object) -> None:
    with pytest.raises(TypeError, match="urls must be a URL or a list of URLs, not "):
        make(urls=urls)


@pytest.mark.parametrize("name", ["retry_budget", "connection_attempt_delay", "pool_idle_timeout"])
def test_nothing_is_a_value_too(name: str) -> None:
    assert getattr(make(**{name: 0}), name) == 0


positive = st.floats(0, 1e6, exclude_min=True)


@given(positive, positive, positive, st.integers(1, 99), st.integers(0, 1 << 40))
def test_what_is_in_range_is_kept_as_it_is(
    window: float, backstop: float, connect: float, attempts: int, limit: int
) -> None:
    target = make(
        window=window,
        response_timeout=backstop,
        connect_timeout=connect,
        max_attempts=attempts,
        replay_limit=limit,
    )
    assert (target.window, target.response_timeout, target.connect_timeout) == (
        window,
        backstop,
        connect,
    )
    assert (target.max_attempts, target.replay_limit) == (attempts, limit)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": "4s"}, "window must be a number, not '4s'"),
        ({"max_attempts": True}, "max_attempts must be a number, not True"),
        ({"urls": [80]}, "urls must be texts or Urls"),
    ],
)
def test_what_is_of_the_wrong_type_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Target(**{"urls": ["http://a.test/"], **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_version": "1.1"}, 'min_version must be "1.2" or "1.3", not "1.1"'),
        ({"key_file": "k.pem"}, "key_file is of no use without cert_file"),
    ],
)
def test_tls_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TlsSettings(**settings)


def test_a_target_of_another_protocol() -> None:
    assert Target(urls=["tcp://a.test:1", "srv+tcp://_a._tcp.test"]).is_tcp
    assert not Target(urls=["http://a.test"]).is_tcp


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"path": "health"}, 'path must begin with "/"'),
        ({"path": "/a#b"}, 'path must begin with "/"'),
        ({"path": "/a b"}, 'path must begin with "/"'),
        ({"path": "/", "interval": 0}, "interval must be more than 0 seconds, not 0"),
        ({"path": "/", "timeout": float("inf")}, "timeout must be more than 0 seconds, not inf"),
        ({"path": "/", "failures": 0}, "failures must be at least 1, not 0"),
        ({"path": "/", "successes": 0}, "successes must be at least 1, not 0"),
    ],
)
def test_health_requests_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        HealthRequests(**settings)
