"""The daemon's file, read whole: every key, and every way in which a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import (
    AdminSettings,
    Config,
    InheritedBind,
    ListenerSettings,
    LogSettings,
    Mode,
    ResolverSettings,
    Route,
    TcpBind,
    UnixBind,
)
from haclient.core.spec import HostHeader, IdempotencyKey, Order, Target, TlsSettings
from haclient.ops.command_line import CommandError
from haclient.ops.config_error import ConfigError
from haclient.ops.config_file import MAX_BYTES, check_bytes, check_file, load

WHOLE = """
[defaults]
failover_window = "3900ms"
max_attempts = 5

[target.orders]
urls = ["http://orders.internal:8080"]
backups = ["http://orders-dr.internal:8080/base"]
order = "shuffled"
failover_window = "4.5s"
response_timeout = 50
connect_timeout = "900ms"
connection_attempt_delay = "250ms"
race_width = 4
max_attempts = 2
failover_statuses = [503]
retry_budget = 0.5
replay_limit = "64KiB"
resume = false
idempotency_key = "ignore"
affinity = "cookie:JSESSIONID"
host_header = "preserve"
queue_timeout = "5s"
max_connections = 10
pool_idle_timeout = 0
standby = false
tls = { server_name = "Orders.Internal", min_version = "1.3" }

[target.other]
urls = ["http://other.internal"]

[listener.orders]
bind = "0.0.0.0:8080"
target = "orders"
routes = [{ host = "A.local", path = "/v1/", target = "other" }, { target = "orders" }]
header_timeout = "1s"
body_timeout = "2s"
idle_timeout = "3s"
max_head = "8KiB"
max_content = "1GiB"
max_connections = 5
via = false
forwarded = true
public = true
mode = "reverse"

[listener.socket]
bind = "unix:/run/a.sock"
target = "orders"

[listener.inherited]
bind = "systemd:orders"
target = "orders"

[listener.proxy]
mode = "forward"
bind = "127.0.0.1:3128"
allow = ["*.internal:*", "10.0.0.0/8:443"]

[resolver]
nameservers = ["10.0.0.53", "127.0.0.1:5353"]
min_ttl = "2s"
max_ttl = "200s"
stale_for = "2h"
state_file = "/var/lib/haclient/resolver.json"

[admin]
bind = "[::1]:9000"

[log]
format = "json"
level = "debug"
access = false

[daemon]
drain_timeout = "1m"
replay_memory = "1GiB"
"""


def test_every_key_is_read() -> None:
    assert check_bytes("haclient.toml", WHOLE.encode()).config == Config(
        targets={
            "orders": Target(
                urls=["http://orders.internal:8080"],
                backups=["http://orders-dr.internal:8080/base"],
                order=Order.SHUFFLED,
                window=4.5,
                response_timeout=50.0,
                connect_timeout=0.9,
                connection_attempt_delay=0.25,
                race_width=4,
                max_attempts=2,
                failover_statuses={503},
                retry_budget=0.5,
                replay_limit=65536,
                resume=False,
                idempotency_key=IdempotencyKey.IGNORE,
                affinity="cookie:JSESSIONID",
                host_header=HostHeader.PRESERVE,
                queue_timeout=5.0,
                max_connections=10,
                pool_idle_timeout=0.0,
                tls=TlsSettings(server_name="orders.internal", min_version="1.3"),
            ),
            "other": Target(urls=["http://other.internal"], window=3.9, max_attempts=5),
        },
        defaults=Target(urls="http://destination.invalid", window=3.9, max_attempts=5),
        listeners=(
            ListenerSettings(
                name="orders",
                bind=TcpBind("0.0.0.0", 8080),
                target="orders",
                routes=(Route("other", "a.local", "/v1/"), Route("orders")),
                header_timeout=1.0,
                body_timeout=2.0,
                idle_timeout=3.0,
                max_head=8192,
                max_content=1 << 30,
                max_connections=5,
                via=False,
                forwarded=True,
                public=True,
            ),
            ListenerSettings(name="socket", bind=UnixBind("/run/a.sock"), target="orders"),
            ListenerSettings(name="inherited", bind=InheritedBind("orders"), target="orders"),
            ListenerSettings(
                name="proxy",
                mode=Mode.FORWARD,
                bind=TcpBind("127.0.0.1", 3128),
                allow=AllowList((parse_rule("*.internal:*"), parse_rule("10.0.0.0/8:443"))),
            ),
        ),
        resolver=ResolverSettings(
            nameservers=("10.0.0.53", "127.0.0.1:5353"),
            min_ttl=2.0,
            max_ttl=200.0,
            stale_for=7200.0,
            state_file="/var/lib/haclient/resolver.json",
        ),
        admin=AdminSettings(bind=TcpBind("::1", 9000)),
        log=LogSettings(format="json", level="debug", access=False),
        drain_timeout=60.0,
        replay_memory=1 << 30,
    )


def test_a_file_that_says_nothing_is_all_defaults() -> None:
    assert check_bytes("haclient.toml", b"").config == Config(targets={})


def test_the_mark_that_some_editors_put_before_a_text_is_no_part_of_it() -> None:
    config = check_bytes("haclient.toml", b"\xef\xbb\xbf[daemon]\ndrain_timeout = 0").config
    assert config == Config(targets={}, drain_timeout=0.0)


def test_a_relative_path_starts_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "haclient.toml"
    path.write_text('[resolver]\nstate_file = "state.json"\n' + LISTENER)

    assert load(str(path)).resolver.state_file == str(tmp_path / "state.json")


def test_it_is_the_same_by_whatever_path_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "haclient.toml").write_text('[resolver]\nstate_file = "s.json"\n' + LISTENER)
    monkeypatch.chdir(tmp_path)
    assert load("haclient.toml") == load(str(tmp_path / "haclient.toml"))


# --- what is wrong --------------------------------------------------------------------------------

URLS = 'urls = ["http://a.test"]\n'
T = "[target.t]\n" + URLS
LISTENER = T + '[listener.l]\nbind = "127.0.0.1:80"\ntarget = "t"\n'
FORWARD = '[listener.l]\nmode = "forward"\nbind = "127.0.0.1:3128"\n' + "allow = ['*.internal:*']\n"

MISTAKES = {
    "an unknown key": (T + "max_attemps = 1", ["f:3: [target.t] max_attemps = 1: unknown key; did you mean max_attempts?"]),
    "an unknown key like none": (T + "colour = 1", ["f:3: [target.t] colour = 1: unknown key; there are urls, backups, order, failover_window, "]),
    "a key of the library": (T + "window = '4s'", ['f:3: [target.t] window = "4s": unknown key; did you mean failover_window?']),
    "a key of other proxies": (LISTENER.replace("bind", "bind = '127.0.0.1:80'\nlisten"), ["f:5: [listener.l] listen = ", "unknown key; did you mean bind?"]),
    "an unknown table": ("[listner.a]\nbind = 1", ["f:1: [listner]: unknown table; did you mean listener?"]),
    "an unknown key at the top": ("drain = 1", ["f:1: drain = 1: a key stands in a table"]),
    "a key above its table": ("bind = 1", ["f:1: bind = 1: a key stands in a table; it goes into [listener.NAME] or [admin]"]),
    "a value for a table": ("log = 1", ["f:1: log = 1: a table is wanted, as [log]"]),
    "a value for defaults": ("defaults = 1\n" + T, ["f:1: defaults = 1: a table is wanted, as [defaults]"]),
    "a value for a target": ("[target]\nt = 1", ["f:2: target.t = 1: a table is wanted, as [target.t]; a key goes into [target.NAME]"]),
    "a list of listeners": ("[[listener]]\na = 1", ["f:1: listener = [{ a = 1 }]: a table is wanted, as [listener]"]),
    "no URLs": ("[target.t]\norder = 'listed'", ['f:1: [target.t] urls: it is missing; write urls = ["http://a.internal"]']),
    "an empty list of URLs": ("[target.t]\nurls = []", ["[target.t] urls = []: a list of texts is wanted", "at least one URL"]),
    "a URL that is no list": ("[target.t]\nurls = 'http://a'", ['urls = "http://a": a list of texts is wanted']),
    "a URL that is none": ("[target.t]\nurls = ['http://a.test',\n 'http://a b/']", ["f:3: [target.t] urls[1] =", "a space; write %20"]),
    "a password in a URL": ("[target.t]\nurls = ['http://u:secret@a b/']", ["http://***@a b/"]),
    "a tcp URL without a port": ("[target.t]\nurls = ['tcp://a']", ["write tcp://HOST:PORT"]),
    "two protocols": ("[target.t]\nurls = ['tcp://a:1']\nbackups = ['http://a']", ["[target.t]: urls and backups must all be tcp://"]),
    "a tcp target at an HTTP door": (LISTENER.replace("http://a.test", "tcp://a:1"), ['f:5: [listener.l] target = "t": this listener speaks HTTP', 'write mode = "tcp"']),
    "an HTTP target at a tcp door": (LISTENER + "mode = 'tcp'", ['f:5: [listener.l] target = "t": this listener passes bytes on', "name a target whose urls are tcp://"]),
    "a tcp target by a route": (T + "[target.u]\nurls = ['tcp://a:1']\n" + LISTENER.removeprefix(T) + "routes = [{ path = '/x', target = 'u' }]", ['f:8: [listener.l] routes[0].target = "u": this listener speaks HTTP']),
    "a wrong type": (T + "max_attempts = true", ["f:3: [target.t] max_attempts = true: a whole number is wanted"]),
    "a wrong type in the defaults": ("[defaults]\norder = 1\n" + T + T.replace(".t]", ".u]"), ["f:2: [defaults] order = 1: one of"]),
    "a status that is none": (T + "failover_statuses = [502, 200]", ["failover_statuses[1] = 200: a status code from"]),
    "TLS that is no table": (T + "tls = 1", ["tls = 1: a table with ca_file, cert_file"]),
    "an unknown key of TLS": (T + "[target.t.tls]\nca_fil = 'x'", ['f:4: [target.t] tls.ca_fil = "x": unknown key; did you mean ca_file?']),
    "a key without a certificate": (T + "tls = { key_file = 'x' }", ["tls = { key_file = \"x\" }: key_file is of no use without cert_file"]),
    "a CA that is not there": (T + "tls = { ca_file = '/nonexistent' }", ["f:3: [target.t] tls.ca_file =", "No such file", "name a PEM file"]),
    "a certificate that is not there": ("[defaults]\ntls.cert_file = '/nonexistent'", ["f:2: [defaults] tls.cert_file =", "No such file"]),
    "an affinity without a name": (T + "affinity = 'cookie:'", ['f:3: [target.t] affinity = "cookie:": write "cookie:NAME", the NAME of']),
    "an affinity that will never be": (T + "affinity = 'moon'", ['affinity = "moon": it is "none", "client", "cookie:NAME" or "header:NAME"']),
    "an affinity that is no text": (T + "affinity = 1", ['affinity = 1: it is "none", "client"']),
    "health without a path": (T + "health = {}", ['f:3: [target.t] health.path: it is missing; write path = "/health"']),
    "a health path that is none": (T + "health = { path = 'health' }", ['health.path = "health": a path begins with "/", as "/health"']),
    "a fragment of a health path": (T + "health = { path = '/a#b' }", ["a path is without fragment and space"]),
    "a health interval of nothing": (T + "health = { path = '/', interval = 0 }", ["health.interval = 0: it must be more than 0 seconds"]),
    "no failures of health": (T + "health = { path = '/', failures = 0 }", ["health.failures = 0: it must be at least 1"]),
    "health of another protocol": ("[target.t]\nurls = ['tcp://a:1']\nhealth = { path = '/' }", ["[target.t] health =", "bytes go through as they are"]),
    "a forward proxy with a target": (LISTENER + "mode = 'forward'\nallow = ['a:1']", ['f:5: [listener.l] target = "t": a forward proxy goes where each request says; remove it']),
    "a forward proxy with routes": (FORWARD + "routes = [{ target = 'x' }]", ["f:5: [listener.l] routes = [", "a forward proxy goes where each request says"]),
    "a forward proxy that refuses everything": (FORWARD.replace("['*.internal:*']", "[]"), ["f:4: [listener.l] allow = []: it refuses everything", 'write allow = ["HOST:PORT"]']),
    "a forward proxy called as a target": (FORWARD.replace("listener.l", "listener.t") + T, ["f:1: [listener.t]: [target.t] has this name too", "rename one"]),
    "an allow list of a reverse proxy": (LISTENER + "allow = ['*:443']", ['f:6: [listener.l] allow = ["*:443"]: only a forward proxy has a list', 'write mode = "forward"']),
    "an allow list that is none": (FORWARD.replace("['*.internal:*']", "'*:443'"), ["f:4: [listener.l] allow = \"*:443\": a list of texts is wanted"]),
    "an allowed host without a port": (FORWARD.replace(":*", ""), ['f:4: [listener.l] allow[0] = "*.internal": write "HOST:PORT"']),
    "a window of a forward proxy's": ("[defaults]\nfailover_window = '1s'\n" + FORWARD, ['f:2: [defaults] failover_window = "1s":']),
    "users that are not there": (LISTENER + "auth = { users_file = '/nonexistent' }", ['f:6: [listener.l] auth.users_file = "/nonexistent": /nonexistent cannot be read: No such file or directory; make it with \'haclient passwd\'']),
    "auth without users": (LISTENER + "auth = { realm = 'x' }", ["f:6: [listener.l] auth.users_file: it is missing"]),
    "a realm that is none": (LISTENER + """auth = { users_file = 'x', realm = 'a"b' }""", ["[listener.l] auth.realm = ", "without quotes and backslashes"]),
    "passwords for another protocol": ("[target.d]\nurls = ['tcp://d:1']\n[listener.l]\nbind = '127.0.0.1:80'\nmode = 'tcp'\ntarget = 'd'\nauth = { users_file = '/dev/null' }", ["there is no HTTP to ask for a password in"]),
    "users of a TCP door": (LISTENER + "allow_uids = [0]", ["f:6: [listener.l] allow_uids = [0]: over TCP nobody says which user connects; bind to a Unix socket"]),
    "a user by name": (LISTENER + "allow_uids = ['www-data']", ['f:6: [listener.l] allow_uids[0] = "www-data": a user is given by number: what \'id -u NAME\' prints']),
    "nobody's door": (LISTENER + "allow_uids = []", ["f:6: [listener.l] allow_uids = []: a list of user ids is wanted, as [1000]; it must have at least one"]),
    "a mode of a TCP door": (LISTENER + "socket_mode = '0660'", ['f:6: [listener.l] socket_mode = "0660": a TCP port has no mode; leave it out']),
    "a mode as a number": (LISTENER + "socket_mode = 660", ["f:6: [listener.l] socket_mode = 660: a mode is three octal digits in a text"]),
    "TLS without a certificate": (LISTENER + "tls = {}", ["f:6: [listener.l] tls.cert_file: it is missing"]),
    "a door's certificate that is not there": (LISTENER + "tls = { cert_file = '/nonexistent' }", ['f:6: [listener.l] tls.cert_file = "/nonexistent": No such file or directory; name a PEM file']),
    "an old TLS at a door": (LISTENER + "tls = { cert_file = '/nonexistent', min_version = '1.1' }", ['[listener.l] tls.min_version = "1.1": one of "1.2", "1.3" is wanted']),
    "no bind": (T + "[listener.l]\ntarget = 't'", ['f:3: [listener.l] bind: it is missing; write bind = "127.0.0.1:8080"']),
    "a door to nowhere": (T + "[listener.l]\nbind = '127.0.0.1:80'", ["f:3: [listener.l]: it leads nowhere; write target ="]),
    "a target that nobody defined": (LISTENER.replace('"t"', '"tt"'), ['f:5: [listener.l] target = "tt": no [target.tt] is defined; there is t; did you mean t?']),
    "a route to nowhere": (LISTENER + "routes = [\n{ target = 'x' }]", ['f:7: [listener.l] routes[0].target = "x": no [target.x] is defined']),
    "a route without target": (LISTENER + "routes = [{ path = '/' }]", ["f:6: [listener.l] routes[0].target: it is missing"]),
    "a hidden route": (LISTENER + "routes = [{ target = 't' },\n{ path = '/a', target = 't' }]", ["f:7: [listener.l] routes[1] =", "decides, and that is { target = \"t\" } (line 6); put this one first"]),
    "two doors on one address": (LISTENER + "[listener.m]\nbind = '127.0.0.1:80'\ntarget = 't'", ["f:7: [listener.m] bind =", "[listener.l] is bound there already"]),
    "a door for all": (LISTENER.replace("127.0.0.1", "0.0.0.0"), ['f:4: [listener.l] bind = "0.0.0.0:80": others on the network can use it']),
    "an admin endpoint for all": ("[admin]\nbind = '0.0.0.0:1'", ["f:2: [admin] bind =", "can stop the daemon"]),
    "no TTL": ("[resolver]\nmin_ttl = 9\nmax_ttl = 5", ["f:1: [resolver]: min_ttl is 9 s, above max_ttl, 5 s"]),
    "a name server that is none": ("[resolver]\nnameservers = ['ns.test']", ["nameservers[0] = \"ns.test\"", "give an IP address"]),
    "a name for a log's line": ("[target.'a b']\n" + URLS, ['f:1: [target."a b"]: a name has up to 64 letters']),
    "a name that is too long": (f"[target.{'a' * 65}]\n" + URLS, ["a name has up to 64 letters"]),
    "a window that cannot be kept": (T + "failover_window = '1s'", ['f:3: [target.t] failover_window = "1s": a window of 1 s cannot be kept', "the smallest is 3.5 s"]),
    "a connect that takes the window": (T + "connect_timeout = 4", ["f:3: [target.t] connect_timeout = 4: a window of 4 s cannot be kept"]),
    "a window of the defaults": ("[defaults]\nfailover_window = 1\n" + T + T.replace(".t]", ".u]"), ["f:2: [defaults] failover_window = 1: a window of 1 s cannot be kept"]),
    "a key twice": ("[log]\nformat = 'text'\nformat = 'json'", ["f:3: this is not TOML: cannot overwrite a value; mend it there"]),
    "no TOML": ("\n[target.t", ["f:2: this is not TOML: ", "mend it there"]),
    "an end that is missing": ('a = """\n\n', ["f:3: this is not TOML: "]),
    "a number that is no number": ("a = " + "1" * 5000, ["f: this is not TOML: ", "that large or that deep"]),
    "brackets in brackets": ("a = " + "[" * 100_000, ["f: this is not TOML: ", "that large or that deep"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "parts"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line_with_what_would_do(text: str, parts: list[str]) -> None:
    checked = check_bytes("f", text.encode())

    assert checked.config is None
    (line,) = map(str, checked.errors)
    assert not [part for part in parts if part not in line], line
    assert line.startswith("f:")
    assert line.isprintable()


def test_what_is_no_utf_8_has_a_line_too() -> None:
    (error,) = check_bytes("f", b"a = 1\nb = '\xff'").errors
    assert str(error) == "f:2: this is not TOML: the byte 0xff is no UTF-8; save it as UTF-8"


def test_every_mistake_is_told_at_once_in_the_files_order() -> None:
    text = f"""{T}max_attempts = 'x'
race_width = 0
[log]
level = 1
[listener.l]
routes = [{{}}]
bind = "0.0.0.0:1"
[resolver]
min_ttl = "x"
[lag]
"""
    errors = check_bytes("f", text.encode()).errors

    assert [(error.line, error.key) for error in errors] == [
        (3, "max_attempts"),
        (4, "race_width"),
        (6, "level"),
        (8, "routes[0].target"),
        (9, "bind"),
        (11, "min_ttl"),
        (12, ""),
    ]


def test_one_bad_route_does_not_hide_what_is_wrong_with_its_door() -> None:
    text = LISTENER.replace("127.0.0.1", "0.0.0.0").replace('"t"', '"x"')
    errors = check_bytes("f", (text + "routes = [{ path = 5 }, { target = 'y' }]").encode()).errors

    assert {error.key for error in errors} == {
        "bind",
        "target",
        "routes[0].path",
        "routes[0].target",
        "routes[1].target",
    }


def test_an_error_is_a_value_for_a_program() -> None:
    (error,) = check_bytes("f", (T + "max_attemps = 1").encode()).errors

    assert error == ConfigError(
        "f", 3, "target.t", "max_attemps", "1", "unknown key", "max_attempts"
    )
    assert msgspec.to_builtins(error)["nearest"] == "max_attempts"


WARNINGS = {
    "a target that nobody uses": (T + LISTENER.replace("target.t]", "target.u]").replace('"t"', '"u"'), "f:1: [target.t]: no listener leads to it"),
    "no verification": (LISTENER.replace(URLS, URLS + "tls.verify = false\n"), "f:3: [target.t] tls.verify = false: any certificate will do"),
    "a back-stop before the proof": (LISTENER.replace(URLS, URLS + "response_timeout = 2\n"), "f:3: [target.t] response_timeout = 2: shorter than the 2.5 s"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "start"), WARNINGS.values(), ids=WARNINGS.keys())
def test_what_is_probably_not_meant(text: str, start: str) -> None:
    checked = check_bytes("f", text.encode())

    assert checked.config is not None
    (warning,) = checked.warnings
    assert str(warning).startswith(start)


def test_a_file_in_order_has_neither() -> None:
    checked = check_bytes("f", WHOLE.encode())
    assert (checked.errors, checked.warnings) == ((), ())


# --- files ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="it cannot be read: No such file") as caught:
        load(str(tmp_path / "none"))

    assert caught.value.exit_code == 78
    assert "with --config" in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (error,) = check_file(str(tmp_path)).errors
    assert "it cannot be read: Is a directory" in str(error)


def test_a_file_that_is_somebody_elses(private_file: Path) -> None:
    (error,) = check_file(str(private_file)).errors
    assert "it cannot be read: Permission denied" in str(error)


def test_a_name_that_no_file_has() -> None:
    (error,) = check_file("a\0b").errors
    assert "it cannot be read: embedded null byte" in str(error)
    assert str(error).isprintable()


def test_a_file_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    path = tmp_path / "haclient.toml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    (error,) = check_file(str(path)).errors
    assert f"it has more than {MAX_BYTES >> 20} MiB" in str(error)


def test_all_errors_of_a_file_end_the_start(tmp_path: Path) -> None:
    path = tmp_path / "haclient.toml"
    path.write_text(LISTENER + "[log]\nlevel = 1\nformat = 2\n")

    with pytest.raises(CommandError) as caught:
        load(str(path))

    assert caught.value.exit_code == 78
    assert [line.split(":")[1] for line in str(caught.value).split("\n")] == ["7", "8"]


def test_the_daemons_file_needs_a_door_and_a_target_alone_does_not(tmp_path: Path) -> None:
    path = tmp_path / "haclient.toml"
    path.write_text(T)

    (error,) = check_file(str(path)).errors
    assert str(error).startswith(f"{path}: there is no [listener.NAME]")
    assert check_bytes("f", T.encode()).config is not None


# --- whatever comes -------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *WHOLE.split(),
        "tls",
        "routes",
        "target",
        "1",
        "true",
        "[",
        "]",
        "{",
        "}",
        "=",
        '"',
        "\n",
        ",",
    ]
)


@given(st.lists(WORDS, max_size=30).map(" ".join) | st.lists(WORDS, max_size=60).map("\n".join))
def test_no_text_breaks_the_reading(text: str) -> None:
    checked = check_bytes("f", text.encode())

    assert (checked.config is None) is bool(checked.errors)
    assert all(str(error).isprintable() for error in checked.errors)


VALUES = st.recursive(
    st.sampled_from(["0", "-1", "true", '"x"', '"4s"', "1.5", "inf", "nan", "1979-05-27", '""']),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
        | inner.map(lambda item: f"{{ path = {item}, target = {item} }}")
    ),
    max_leaves=4,
)
LINES = [number for number, line in enumerate(WHOLE.split("\n")) if " = " in line]


WINDOW_LINE = WHOLE.split("\n").index('failover_window = "4.5s"') + 1
"""Too short for a connect_timeout that is long: that is told where the window is."""


@given(st.sampled_from(LINES), VALUES)
@example(WHOLE.split("\n").index('connect_timeout = "900ms"'), '"4s"')
def test_any_value_of_any_key_is_read_or_refused_in_its_line(number: int, value: str) -> None:
    lines = WHOLE.split("\n")
    lines[number] = f"{lines[number].split(' = ')[0]} = {value}"
    checked = check_bytes("f", "\n".join(lines).encode())

    key = lines[number].split(" = ")[0]
    elsewhere = {"urls", "bind", "target", "min_ttl", "max_ttl"}  # what others depend on
    assert (checked.config is None) is bool(checked.errors)
    may_be_told = {number + 1, WINDOW_LINE} if key == "connect_timeout" else {number + 1}
    assert key in elsewhere or {error.line for error in checked.errors} <= may_be_told
