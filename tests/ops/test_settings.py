"""One target out of the daemon's file, and the line for each mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from haclient.core.spec import IdempotencyKey, Target, TlsSettings
from haclient.ops.command_line import CommandError
from haclient.ops.settings import read_nameservers, read_target
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
tls = { ca_file = "/etc/ca.pem", verify = false, min_version = "1.3" }
queue_timeout = "2s"
resume = false
affinity = "client"
host_header = 5
standby = true
health = {}

[target.other]
urls = ["http://d.test"]

[listener.orders]
bind = "nowhere"

[nonsense]
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
        queue_timeout=2.0,
        tls=TlsSettings(ca_file="/etc/ca.pem", verify=False, min_version="1.3"),
    )


def test_what_a_target_does_not_say_is_the_defaults(path: Path) -> None:
    path.write_text(WHOLE)

    expected = Target(urls=["http://d.test"], window=3.0, max_attempts=5)
    assert read_target(str(path), "other") == expected


URLS = 'urls = ["http://a.test"]\n'
T = "[target.t]\n" + URLS
MISTAKES = {
    "an unknown key": (T + "max_attemps = 1", ":3: [target.t] max_attemps = 1: unknown key; did you mean max_attempts?"),
    "an unknown key among the defaults": ("[defaults]\nfoo = 1\n" + T, ":2: [defaults] foo = 1: unknown key"),
    "no target of that name": ("[target.s]\n" + URLS, ":1: [target.t]: there is no such table; it has s"),
    "a target of nearly that name": ("[target.tt]\n" + URLS, "it has tt; did you mean tt?"),
    "no target at all": ("", ": [target.t]: there is no such table; it has none"),
    "a forward listener": (
        "[listener.t]\nmode = 'forward'",
        "[target.t]: there is no such table; it has none; [listener.t] is a forward proxy, whose "
        "clients name the destinations: give a URL instead of a name",
    ),
    "a listener": ("[listener.t]\ntarget = 's'\n[target.s]\n" + URLS, "it has s; [listener.t] is a listener: name its target, s"),
    "a listener with routes": ("[listener.t]\nroutes = []", "it has none; [listener.t] is a listener: name one of its targets"),
    "a listener that is no table": ("[listener]\nt = 1", "there is no such table; it has none"),
    "targets that are no table": ("target = 1", ":1: target = 1: a table is wanted, as [target]"),
    "a target that is no table": ("[target]\nt = 1", ":2: target.t = 1: a table is wanted, as [target.t]"),
    "defaults that are no table": ("defaults = 1\n" + T, ":1: defaults = 1: a table is wanted"),
    "no URLs": ("[target.t]\norder = 'listed'", ":1: [target.t] urls: it is missing; write urls = ["),
    "an empty list of URLs": ("[target.t]\nurls = []", "[target.t] urls = []: a list of texts is wanted"),
    "a URL that is none": ("[target.t]\nurls = ['http://a b/']", "a space; write %20"),
    "a duration that is none": (T + "failover_window = 'soon'", "failover_window = \"soon\": 'soon' is no duration"),
    "no window": (T + "failover_window = 0", "it must be more than 0 seconds"),
    "a key without its certificate": (T + "tls = { key_file = 'x' }", "key_file is of no use without cert_file"),
    "no TOML": ("[target.t", ":1: this is not TOML: "),
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


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(CommandError, match="with --config") as caught:
        read_target(str(path), "t")

    assert caught.value.exit_code == 78


def test_a_file_that_is_no_utf_8(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(CommandError, match=":1: this is not TOML: the byte 0xff") as caught:
        read_target(str(path), "t")

    assert caught.value.exit_code == 78


def test_a_relative_path_starts_from_the_files_folder(path: Path) -> None:
    path.write_text(T + "tls = { ca_file = 'ca.pem' }")

    assert read_target(str(path), "t").tls.ca_file == str(path.parent / "ca.pem")


def test_what_one_request_does_not_need_is_not_asked_for(path: Path) -> None:
    """A file of TLS that is missing has its own exit code, 58 or 77, once the request needs it."""
    path.write_text(T + "failover_window = '1s'\ntls = { cert_file = '/nonexistent' }")

    assert read_target(str(path), "t").window == 1.0


# --- whom names are asked of ------------------------------------------------------------------------


def test_the_files_name_servers(path: Path) -> None:
    path.write_text(T + "[resolver]\nnameservers = ['10.0.0.53', '127.0.0.1:5353']\nstale_for = 0")

    assert read_nameservers(str(path)) == ("10.0.0.53", "127.0.0.1:5353")


@pytest.mark.parametrize("text", [T, T + "[resolver]\nstale_for = '1h'"])
def test_a_file_without_name_servers_leaves_the_systems(text: str, path: Path) -> None:
    path.write_text(text)

    assert read_nameservers(str(path)) is None


def test_a_name_server_that_is_none(path: Path) -> None:
    path.write_text(T + "[resolver]\nnameservers = ['dns.internal']\nmin = 1")

    with pytest.raises(CommandError) as caught:
        read_nameservers(str(path))

    assert [line.split(" = ")[0].rpartition(" ")[2] for line in str(caught.value).split("\n")] == [
        "nameservers[0]",
        "min",
    ]
    assert caught.value.exit_code == 78
