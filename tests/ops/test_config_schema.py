"""The JSON schema says what the daemon does: of every key, of whole files, and of mistakes."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.ops.config_error import shown
from haclient.ops.config_file import check_bytes
from haclient.ops.config_keys import ADMIN, DAEMON, LISTENER, LOG, RESOLVER, TARGET, Keys
from haclient.ops.config_kinds import ListOf, TableOf
from haclient.ops.config_schema import schema
from tests.ops.test_config_file import MISTAKES, WHOLE
from tests.support.json_schema import faults

EXAMPLE = """
[target.orders]
urls = ["http://orders.internal:8080"]          # every address of every URL is a candidate
backups = ["http://orders-dr.internal:8080"]    # used when no address above can answer
order = "fastest"
failover_window = "4s"
response_timeout = "40s"
connect_timeout = "1s"
connection_attempt_delay = "0ms"
race_width = 8
max_attempts = 3
failover_statuses = [502, 503, 504]
retry_budget = 0.2
replay_limit = "1MiB"
resume = true
idempotency_key = "honour"
affinity = "none"
host_header = "origin"
max_connections = 256
pool_idle_timeout = "15s"
standby = false
health = { path = "/health", interval = "5s", timeout = 1, failures = 3, successes = 1 }
tls = { server_name = "orders.internal", verify = true, min_version = "1.2" }

[listener.orders]
bind = "127.0.0.1:8080"
target = "orders"
routes = [{ host = "a.local", path = "/v1/", target = "orders" }]
header_timeout = "10s"
body_timeout = "30s"
idle_timeout = "75s"
max_head = "32KiB"
max_connections = 4096
via = true
forwarded = false

[resolver]
nameservers = ["10.0.0.53", "127.0.0.1:5353"]
min_ttl = "1s"
max_ttl = "300s"
stale_for = "1h"
state_file = "/var/lib/haclient/resolver.json"

[admin]
bind = "unix:/run/haclient/admin.sock"

[log]
format = "text"
level = "info"
access = true
"""
"""The example that users are shown, as far as it is about reverse listeners."""

SCHEMA = schema()


@pytest.mark.parametrize("text", [EXAMPLE, WHOLE, ""], ids=["example", "every key", "nothing"])
def test_what_the_daemon_reads_the_schema_takes(text: str) -> None:
    assert check_bytes("f", text.encode()).errors == ()
    assert faults(SCHEMA, tomllib.loads(text)) == []


def properties(keys: Keys, where: dict[str, Any]) -> None:
    """Every key is in a table's schema, with what it means and its default."""
    assert set(where["properties"]) == set(keys)
    assert where["additionalProperties"] is False
    for name, key in keys.items():
        found = where["properties"][name]
        assert found["description"] == key.help
        assert found.get("default") == key.default
        if isinstance(key.kind, TableOf):
            properties(key.kind.keys, found)
        if isinstance(key.kind, ListOf) and isinstance(key.kind.item, TableOf):
            properties(key.kind.item.keys, found["items"])


def test_every_key_is_in_the_schema() -> None:
    tables = SCHEMA["properties"]

    properties(TARGET, tables["defaults"])
    properties(TARGET, tables["target"]["additionalProperties"])
    properties(LISTENER, tables["listener"]["additionalProperties"])
    properties(RESOLVER, tables["resolver"])
    properties(ADMIN, tables["admin"])
    properties(LOG, tables["log"])
    properties(DAEMON, tables["daemon"])
    assert len(tables) == 7


def test_every_default_is_what_its_schema_takes() -> None:
    for table, keys in {"log": LOG, "resolver": RESOLVER, "daemon": DAEMON}.items():
        defaults = {name: key.default for name, key in keys.items() if key.default is not None}
        assert faults(SCHEMA, {table: defaults}) == []
    for keys, table in ((TARGET, "target"), (LISTENER, "listener")):
        where = SCHEMA["properties"][table]["additionalProperties"]["properties"]
        for name, key in keys.items():
            assert key.default is None or faults(where[name], key.default) == []


NO_TOML = {
    *("a key twice", "no TOML", "an end that is missing"),
    *("a number that is no number", "brackets in brackets"),
}

BEYOND = {
    *(
        "a tcp URL without a port",
        "two protocols",
        "health of another protocol",
        "a tcp target at an HTTP door",
    ),
    *("an HTTP target at a tcp door", "a tcp target by a route"),
    *("a name server that is none", "no URLs", "a key without a certificate"),
    *("a CA that is not there", "a certificate that is not there"),
    *("a door to nowhere", "a target that nobody defined", "a route to nowhere", "a hidden route"),
    *("a forward proxy with a target", "a forward proxy with routes"),
    *("a forward proxy that refuses everything", "a forward proxy called as a target"),
    *("an allow list of a reverse proxy", "a window of a forward proxy's"),
    *("users of a TCP door", "a mode of a TCP door", "users that are not there"),
    "passwords for another protocol",
    "a door's certificate that is not there",
    *("two doors on one address", "a door for all", "an admin endpoint for all", "no TTL"),
    *(
        "a window that cannot be kept",
        "a window of the defaults",
        "a connect that takes the window",
    ),
}
"""What a schema cannot see: how values go together, files, what a text means."""


@pytest.mark.parametrize("name", [name for name in MISTAKES if name not in BEYOND | NO_TOML])
def test_a_mistake_that_an_editor_can_see_it_does_see(name: str) -> None:
    assert faults(SCHEMA, tomllib.loads(MISTAKES[name][0]))


@pytest.mark.parametrize("name", sorted(BEYOND))
def test_what_it_cannot_see_is_no_false_alarm(name: str) -> None:
    assert faults(SCHEMA, tomllib.loads(MISTAKES[name][0])) == []


VALUES = st.recursive(
    st.sampled_from([0, 1, -1, 1.5, True, False, "4s", "1KiB", "x", "", "127.0.0.1:1", "/"]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(
    st.sampled_from(
        [
            (table, name)
            for table, keys in {"resolver": RESOLVER, "log": LOG, "daemon": DAEMON}.items()
            for name in keys
        ]
    ),
    VALUES,
)
def test_what_the_schema_refuses_the_daemon_does_too(where: tuple[str, str], value: Any) -> None:
    table, name = where
    if faults(SCHEMA, {table: {name: value}}):
        text = f"[{table}]\n{name} = {shown(value)}"
        assert check_bytes("f", text.encode()).errors
