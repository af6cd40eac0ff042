"""One target out of the daemon's file, and the line for each mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from haclient.core.spec import IdempotencyKey, Target, TlsSettings
from haclient.ops.command_line import CommandError
from haclient.ops.settings import parse_size, read_target
from haclient.types import Order

WHOLE = """
[defaults]
failover_window = "3s"
max_attempts = 5

[target.orders]
urls = ["http://a.test/base", "https://b.test"]
backups = ["http://c.test"]
order = "listed"
response_timeout = 90
connect_timeout = "250ms"
connection_attempt_delay = "0.25s"
race_width = 2
max_attempts = 4
failover_statuses = [502]
retry_budget = 0.5
replay_limit = "64KiB"
idempotency_key = "ignore"
max_connections = 8
pool_idle_timeout = "1m"
tls = { ca_file = "ca.pem", verify = false, min_version = "1.3" }
resume = true
affinity = "client"

[target.other]
urls = ["http://d.test"]

[listener.orders]
bind = "127.0.0.1:1"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "haclient.toml"


def test_every_key_of_a_target_is_read(path: Path) -> None:
    path.write_text(WHOLE)

    assert read_target(str(path), "orders") == Target(
        urls=["http://a.test/base", "https://b.test"],
        backups=["http://c.test"],
        order=Order.LISTED,
        window=3.0,
        response_timeout=90.0,
        connect_timeout=0.25,
        connection_attempt_delay=0.25,
        race_width=2,
        max_attempts=4,
        failover_statuses={502},
        retry_budget=0.5,
        replay_limit=65536,
        idempotency_key=IdempotencyKey.IGNORE,
        max_connections=8,
        pool_idle_timeout=60.0,
        tls=TlsSettings(ca_file="ca.pem", verify=False, min_version="1.3"),
    )


def test_what_a_target_does_not_say_is_the_defaults(path: Path) -> None:
    path.write_text(WHOLE)

    expected = Target(urls=["http://d.test"], window=3.0, max_attempts=5)
    assert read_target(str(path), "other") == expected


URLS = 'urls = ["http://a.test"]\n'
T = "[target.t]\n" + URLS
MISTAKES = {
    "an unknown key": (T + "max_attemps = 1", "[target.t] max_attemps = 1: unknown key; did you mean max_attempts?"),
    "an unknown key like none": (T + "colour = 1", "[target.t] colour = 1: unknown key"),
    "an unknown key among the defaults": ("[defaults]\nfoo = 1\n" + T, "[defaults] foo = 1: unknown key"),
    "no target of that name": ("[target.s]\n" + URLS, "has no [target.t]; it has s"),
    "a target of nearly that name": ("[target.tt]\n" + URLS, "has no [target.t]; did you mean 'tt'?"),
    "no target at all": ("", "has no [target.t]; it has none"),
    "targets that are no table": ("target = 1", "target = 1: a table is wanted, as [target]"),
    "a target that is no table": ("[target]\nt = 1", "target.t = 1: a table is wanted, as [target.t]"),
    "defaults that are no table": ("defaults = 1\n" + T, "defaults = 1: a table is wanted"),
    "no URLs": ("[target.t]\norder = 'listed'", "[target.t]: urls is missing; write urls = ["),
    "an empty list of URLs": ("[target.t]\nurls = []", "[target.t]: urls must name at least one URL"),
    "one URL that is no list": ("[target.t]\nurls = 'http://a.test'", "a list of texts is wanted"),
    "a URL that is none": ("[target.t]\nurls = ['http://a b/']", "a space; write %20"),
    "a duration that is none": (T + "failover_window = 'soon'", "failover_window = 'soon': 'soon' is no duration"),
    "a duration that is true": (T + "failover_window = true", "a duration is"),
    "no window": (T + "failover_window = 0", "window must be more than 0 seconds"),
    "a size that is none": (T + "replay_limit = '1 MB'", 'a size is "64KiB"'),
    "a count that is none": (T + "max_attempts = 1.5", "a whole number is wanted"),
    "a count that is true": (T + "max_attempts = true", "a whole number is wanted"),
    "a ratio that is none": (T + "retry_budget = 'x'", "a number is wanted, as 0.2"),
    "a status that is none": (T + "failover_statuses = [200]", "status codes from 300 to 599"),
    "an order that is none": (T + "order = 'random'", 'one of "fastest", "listed", "shuffled"'),
    "TLS that is no table": (T + "tls = 1", "a table with ca_file, cert_file"),
    "an unknown key of TLS": (T + "tls = { ca = 'x' }", "a table with ca_file, cert_file"),
    "a file of TLS that is none": (T + "tls = { ca_file = 5 }", "ca_file is a text"),
    "verify that is neither": (T + "tls = { verify = 'no' }", "verify is true or false"),
    "a version of TLS that is none": (T + "tls = { min_version = '1.1' }", 'min_version is "1.2" or "1.3"'),
    "no TOML": ("[target.t", "is not TOML: "),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_file_table_and_key(text: str, message: str, path: Path) -> None:
    path.write_text(text)

    with pytest.raises(CommandError) as caught:
        read_target(str(path), "t")

    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert caught.value.exit_code == 78


def test_every_mistake_is_told_at_once(path: Path) -> None:
    path.write_text(T + "max_attempts = 'x'\nrace_width = 'y'\nfoo = 1")

    with pytest.raises(CommandError) as caught:
        read_target(str(path), "t")

    assert [
        line.split("[target.t] ")[1].split(" ")[0] for line in str(caught.value).split("\n")
    ] == [
        "max_attempts",
        "race_width",
        "foo",
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["no UTF-8", "no file"])
def test_a_file_that_cannot_be_read(content: bytes | None, path: Path) -> None:
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CommandError, match="with --config") as caught:
        read_target(str(path), "t")

    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 0), (5, 5), ("7", 7), ("1KiB", 1024), ("2MiB", 2 << 20), ("3GiB", 3 << 30)],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", [True, -1, 1.5, "1 KiB", "1kb", "", None])
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="a size is"):
        parse_size(value)
