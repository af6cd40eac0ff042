"""Keys of HTTP at doors and targets of another protocol."""

from __future__ import annotations

import pytest

from haclient.core.config import Mode
from haclient.ops.config_file import check_bytes
from haclient.ops.config_keys import LISTENER, TARGET
from haclient.ops.config_tcp import HTTP_LISTENER_KEYS, HTTP_TARGET_KEYS

GOOD = """
[defaults]
response_timeout = "1s"
tls = { verify = true }
[target.db]
urls = ["tcp://db.internal:5432", "srv+tcp://_postgresql._tcp.internal"]
backups = ["tcp://db-dr.internal:5432"]
order = "listed"
failover_window = "4s"
connect_timeout = "1s"
connection_attempt_delay = "250ms"
race_width = 2
max_attempts = 2
queue_timeout = "5s"
max_connections = 90
[listener.db]
mode = "tcp"
bind = "127.0.0.1:5432"
target = "db"
max_connections = 90
"""

VALUES = {
    "failover_statuses": "[502]",
    "retry_budget": "0.1",
    "replay_limit": '"1KiB"',
    "resume": "false",
    "idempotency_key": '"ignore"',
    "host_header": '"preserve"',
    "response_timeout": '"9s"',
    "pool_idle_timeout": '"9s"',
    "standby": "false",
    "tls": "{}",
    "routes": '[{ target = "db" }]',
    "header_timeout": '"9s"',
    "body_timeout": '"9s"',
    "idle_timeout": '"9s"',
    "max_head": '"8KiB"',
    "max_content": '"8KiB"',
    "via": "false",
    "forwarded": "true",
    "auth": '{ users_file = "users" }',
}


def test_a_door_for_another_protocol() -> None:
    checked = check_bytes("f", GOOD.encode())
    assert (checked.errors, checked.warnings) == ((), ())
    assert checked.config is not None
    assert checked.config.targets["db"].is_tcp
    assert checked.config.listeners[0].mode is Mode.TCP


@pytest.mark.parametrize("key", [name for name in HTTP_TARGET_KEYS if name in VALUES])
def test_what_means_nothing_to_its_target(key: str) -> None:
    text = GOOD.replace("[listener.db]", f"{key} = {VALUES[key]}\n[listener.db]")
    (error,) = check_bytes("f", text.encode()).errors
    assert str(error).startswith(f"f:16: [target.db] {key}")
    assert str(error).endswith(HTTP_TARGET_KEYS[key])


def test_they_are_told_beside_what_is_wrong_with_its_urls() -> None:
    text = GOOD.replace("db.internal:5432", "db.internal", 1).replace(
        "[listener.db]", "resume = false\n[listener.db]"
    )
    url, key = check_bytes("f", text.encode()).errors
    assert "tcp://db.internal" in str(url)
    assert str(key).startswith("f:16: [target.db] resume")


@pytest.mark.parametrize("key", HTTP_LISTENER_KEYS)
def test_what_means_nothing_to_its_door(key: str) -> None:
    text = f"{GOOD}{key} = {VALUES[key]}\n"
    (error,) = check_bytes("f", text.encode()).errors
    assert str(error).startswith(f"f:21: [listener.db] {key}")
    assert str(error).endswith(HTTP_LISTENER_KEYS[key])


def test_they_are_keys() -> None:
    assert set(HTTP_TARGET_KEYS) <= set(TARGET)
    assert set(HTTP_LISTENER_KEYS) <= set(LISTENER)


def test_a_client_is_known_by_its_address_there() -> None:
    own = GOOD.replace("[listener.db]", 'affinity = "client"\n[listener.db]')
    assert check_bytes("f", own.encode()).errors == ()
    (error,) = check_bytes("f", own.replace('"client"', '"cookie:sid"').encode()).errors
    assert str(error).startswith('f:5: [target.db]: affinity must be "none" or "client"')


def test_a_cookie_in_the_defaults_is_not_meant_for_it() -> None:
    defaults = GOOD.replace("[defaults]", '[defaults]\naffinity = "cookie:sid"')
    (error,) = check_bytes("f", defaults.encode()).errors
    assert 'affinity must be "none" or "client" where the urls are tcp://' in str(error)
    own = defaults.replace("[listener.db]", 'affinity = "none"\n[listener.db]')
    assert check_bytes("f", own.encode()).errors == ()
