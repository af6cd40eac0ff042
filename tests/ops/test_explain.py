"""`haclient explain`: the command on real loopback addresses, and its exit codes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from haclient.core.keepalive import Plan
from haclient.core.spec import Target
from haclient.errors import Error
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.ops.command_line import CommandError
from haclient.ops.exit_codes import exit_code_for
from haclient.ops.explain import build_parser, exit_code, explain, run
from haclient.ops.explain_race import Tried
from haclient.ops.explain_text import Explanation
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Order, Origin

CLOSED = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def port() -> Iterator[int]:
    """One that listens on 127.0.0.1 and 127.0.0.2; the kernel alone connects."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        number: int = first.getsockname()[1]
        second.bind(("127.0.0.2", number))
        first.listen(16)
        second.listen(16)
        yield number


def test_a_server_that_can_be_connected(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([f"http://127.0.0.1:{port}/"]) == 0
    out = capsys.readouterr().out
    assert f"✔ 127.0.0.1:{port}  connected in" in out
    assert "would serve" in out
    assert "nobody else to ask" in out


def test_json_names_who_would_serve(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", f"http://127.0.0.1:{port}/", "--backup", f"http://127.0.0.2:{port}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["serves"] == f"127.0.0.1:{port}"
    assert [one["address"] for one in found["race"]] == [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]
    assert found["resend"]["GET"]["suspect"] is True


def test_a_backup_serves_where_nobody_else_does(
    port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([CLOSED, "--backup", f"http://127.0.0.2:{port}"]) == 0
    assert f"127.0.0.2:{port}  connected" in capsys.readouterr().out


def test_servers_of_another_protocol(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([f"tcp://127.0.0.1:{port}", "--backup", f"tcp://127.0.0.2:{port}"]) == 0
    out = capsys.readouterr().out
    assert "would serve" in out
    assert "never: in TCP mode what a server was sent is that server's" in out
    assert run(["--json", f"tcp://127.0.0.1:{port}"]) == 0
    assert json.loads(capsys.readouterr().out)["resend"] == {}


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([CLOSED]) == 7
    assert "no address would serve" in capsys.readouterr().out


def test_a_window_that_cannot_be_kept(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([f"http://127.0.0.1:{port}/", "--window", "2s"]) == 78
    assert "the smallest is 3.5 s" in capsys.readouterr().out


def failed_with(*failures: ConnectFailure) -> Explanation:
    """An explanation in which the addresses failed in these ways."""
    origin, endpoint = Origin("https", "orders.test", 443), Endpoint("10.0.0.1", 443)
    tried = tuple(
        Tried(origin, endpoint, ConnectionAttempt(endpoint, 0.0, 1.0, failure=failure))
        for failure in failures
    )
    target = Target(urls="https://orders.test/")
    return Explanation(target, (), tried, None, Plan.for_window(4.0, 1.0), 0.0, ())


FAILURES = {
    "no address: 6": ([], 6),
    "refused: 7": ([ConnectFailure.REFUSED], 7),
    "unreachable: 7": ([ConnectFailure.UNREACHABLE], 7),
    "timed out: 28": ([ConnectFailure.TIMED_OUT], 28),
    "timed out here and refused there: 7": (
        [ConnectFailure.TIMED_OUT, ConnectFailure.REFUSED],
        7,
    ),
    "no TLS: 35": ([ConnectFailure.REFUSED, ConnectFailure.TLS], 35),
    "a bad certificate: 60": ([ConnectFailure.TLS, ConnectFailure.CERTIFICATE], 60),
}


@pytest.mark.parametrize(("failures", "code"), FAILURES.values(), ids=FAILURES)
def test_what_came_furthest_names_the_exit_code(failures: list[ConnectFailure], code: int) -> None:
    assert exit_code(failed_with(*failures)) == code


async def test_the_listed_order_gives_the_first_one(port: int) -> None:
    resolver = StaticResolver(
        {
            ("orders.test", port): (
                Endpoint("127.0.0.3", port),
                Endpoint("127.0.0.2", port),
                Endpoint("127.0.0.1", port),
            )
        },
        SystemResolver(),
    )
    target = Target(urls=f"http://orders.test:{port}", order=Order.LISTED)
    found = await explain(target, resolver)
    assert [one.endpoint.address for one in found.tried] == ["127.0.0.3", "127.0.0.2", "127.0.0.1"]
    assert found.winner is not None
    assert found.winner.endpoint.address == "127.0.0.2"
    assert found.rtt > 0


async def test_the_environments_proxy_is_found(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy.test:3128")
    found = await explain(Target(urls=f"http://127.0.0.1:{port}"), SystemResolver())
    assert found.proxy == "http://proxy.test:3128"


WRONG = {
    "no URL": ([], 2),
    "a window of nothing": (["http://h.test/", "--window", "0"], 2),
    "an order that there is not": (["http://h.test/", "--order", "best"], 2),
    "a URL that is none": (["http://"], 3),
    "another scheme": (["ftp://h.test/"], 1),
}


@pytest.mark.parametrize(("words", "code"), WRONG.values(), ids=WRONG)
def test_wrong_use(words: list[str], code: int) -> None:
    with pytest.raises((CommandError, Error)) as caught:
        run(words)
    assert exit_code_for(caught.value) == code


def test_a_ca_file_that_is_not_there() -> None:
    with pytest.raises((Error, ExceptionGroup)) as caught:
        run(["https://127.0.0.1:1/", "--cacert", "/no/such/file"])
    assert exit_code_for(caught.value) == 77


def test_every_option_has_a_line_of_help() -> None:
    assert all(action.help for action in build_parser()._actions)


def test_a_target_of_a_file_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "h.toml"
    file.write_text(
        '[target.orders]\nurls = ["http://127.0.0.1:1"]\nfailover_window = "5s"\n'
        '[defaults]\nconnect_timeout = "300ms"\n'
    )

    assert run(["-c", str(file), "orders"]) == 7

    said = capsys.readouterr().out
    assert "window 5 s, connect_timeout 0.3 s" in said


@pytest.mark.parametrize(
    "words", [["orders", "http://a.test/"], ["orders", "--window", "3s"], ["orders", "-k"]]
)
def test_a_target_of_a_file_is_explained_as_it_is(words: list[str]) -> None:
    with pytest.raises(CommandError, match="name one target of the file"):
        run(["-c", "/nowhere.toml", *words])


def test_a_target_that_no_file_defines_exits_with_78() -> None:
    with pytest.raises(CommandError) as told:
        run(["-c", "/nowhere.toml", "orders"])
    assert told.value.exit_code == 78
