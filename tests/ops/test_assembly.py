"""What a client is made of, for each option that says something of it."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from haclient.core.spec import Target, TlsSettings
from haclient.core.url import parse_url
from haclient.errors import UrlError
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.ops.assembly import (
    configured_target,
    readers,
    resolver,
    settings,
    target_with_backups,
)
from haclient.ops.command_line import CommandError
from haclient.ops.options import RequestOptions, parse_options
from haclient.ops.rerouting import Rerouting
from haclient.ops.trace import Timeline
from haclient.ops.trace_json import JsonLines
from haclient.ops.verbose import Verbose
from haclient.types import Order


def options(*words: str) -> RequestOptions:
    return parse_options([*words, "http://h.test/p"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], {}),
        (["--window", "2s"], {"window": 2.0}),
        (["--order", "listed"], {"order": Order.LISTED}),
        (["--connect-timeout", "0.5"], {"connect_timeout": 0.5}),
        (["--connect-timeout", "0"], {}),
        (["--retry", "0"], {"max_attempts": 1}),
        (["--retry", "4"], {"max_attempts": 5}),
        (["-m", "5"], {"response_timeout": 40.0}),
        (["-m", "90"], {"response_timeout": 90.0}),
        (["-k"], {"tls": TlsSettings(verify=False)}),
        (
            ["--cacert", "a", "-E", "b", "--key", "c"],
            {"tls": TlsSettings(ca_file="a", cert_file="b", key_file="c")},
        ),
    ],
)
def test_settings_hold_what_was_said_and_nothing_else(
    words: list[str], said: dict[str, object]
) -> None:
    assert settings(options(*words)) == said


def test_a_configured_target_is_the_files_but_for_what_the_options_say(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(
        '[target.t]\nurls = ["http://a.test"]\nrace_width = 3\nconnect_timeout = "3s"\n'
    )
    words = ["--config", str(path), "--target", "t", "--window", "2s", "-k"]

    assert configured_target(options()) is None
    assert configured_target(options(*words)) == Target(
        urls=["http://a.test"],
        race_width=3,
        connect_timeout=3.0,
        window=2.0,
        tls=TlsSettings(verify=False),
    )


def test_backups_stand_in_for_the_urls_own_origin() -> None:
    url = parse_url("http://h.test:81/p?q")
    words = ["--backup", "b.test", "--backup", "https://c.test/base", "--window", "2s"]

    assert target_with_backups(url, options()) is None
    assert target_with_backups(url, options(*words)) == Target(
        urls=["http://h.test:81/"], backups=["http://b.test", "https://c.test/base"], window=2.0
    )
    with pytest.raises(UrlError):
        target_with_backups(url, options("--backup", "http://a b/"))


def test_names_are_answered_by_the_machine() -> None:
    assert isinstance(resolver(options()), SystemResolver)


@pytest.mark.parametrize(
    "words",
    [["--connect-to", "::a:1"], ["--unix-socket", "s"], ["-4"], ["-6"]],
    ids=lambda words: words[0],
)
def test_unless_an_option_says_otherwise(words: list[str]) -> None:
    found = resolver(options("--resolve", "h.test:80:10.0.0.1", *words))

    assert isinstance(found, Rerouting)
    assert isinstance(found.inner, StaticResolver)
    assert found.is_ipv4_only is ("-4" in words)
    assert found.is_ipv6_only is ("-6" in words)


def test_a_socket_is_a_path_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative one would be taken for an address, and looked up as a name."""
    monkeypatch.chdir(tmp_path)
    found = resolver(options("--unix-socket", "run/s"))

    assert isinstance(found, Rerouting)
    assert found.unix_socket == str(tmp_path / "run" / "s")


def test_who_reads_along(tmp_path: Path) -> None:
    with ExitStack() as stack:
        assert readers(options(), stack) == []
        found = readers(options("-v", "--trace", "--trace-json", str(tmp_path / "f")), stack)
        assert [type(reader) for reader in found] == [Verbose, Timeline, JsonLines]

    assert (tmp_path / "f").read_bytes() == b""


def test_a_trace_goes_to_stderr_where_it_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with ExitStack() as stack:
        readers(options("--trace-json", "-"), stack)

    assert not stderr.closed


def test_a_trace_file_that_cannot_be() -> None:
    with ExitStack() as stack, pytest.raises(CommandError, match="'/nowhere/f' cannot") as caught:
        readers(options("--trace-json", "/nowhere/f"), stack)

    assert caught.value.exit_code == 23


def test_a_trace_on_a_full_disk_harms_nobody() -> None:
    with ExitStack() as stack:
        [reader] = readers(options("--trace-json", "/dev/full"), stack)
        assert isinstance(reader, JsonLines)
        assert reader._stream is not None
        reader._stream.write("x")
