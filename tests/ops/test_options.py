"""The options of `haclient request`: each letter is curl's, and every one is documented."""

from __future__ import annotations

import argparse
import re
import subprocess

import pytest

from haclient.ops.command_line import CommandError
from haclient.ops.options import (
    DEFAULT_CONFIG,
    DataKind,
    RequestOptions,
    build_parser,
    parse_options,
)
from tests.support.recorder import CURL, needs_curl

OWN = {"--backup", "--window", "--order", "--idempotency-key", "--trace-json", "--target"}
"""What curl has not."""

OTHERWISE = {"--trace", "--config"}
"""What curl has with another meaning."""


def actions() -> list[argparse.Action]:
    return [action for action in build_parser()._actions if action.option_strings]


def test_every_option_is_declared_with_its_type() -> None:
    dests = {action.dest for action in build_parser()._actions} - {"help"}

    assert dests == set(RequestOptions.__annotations__)


def test_every_option_has_a_line_of_help() -> None:
    for action in actions():
        assert action.help, action.option_strings
        assert action.help[0].islower() or action.help[0].isupper()


@needs_curl
def test_every_letter_and_name_is_curls() -> None:
    shown = subprocess.run(
        [str(CURL), "--help", "all"], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    curls = dict(re.findall(r"(?m)^ (-.), (--[a-z0-9.-]+)", shown))
    names = set(re.findall(r"(?m)^ (?:-., |    )(--[a-z0-9.-]+)", shown)) | {"--no-progress-meter"}

    for action in actions():
        *letter, name = action.option_strings
        if letter:
            assert curls[letter[0]] == name
        assert (name in names) is (name not in OWN)


def test_nothing_but_a_url() -> None:
    options = parse_options(["http://h.test/"])

    assert options.urls == ["http://h.test/"]
    assert (options.max_redirs, options.window, options.max_time) == (50, None, None)
    given = {name for name, value in vars(options).items() if value not in (None, False, [], 50)}
    assert given == {"urls"}


def test_a_usual_command_line() -> None:
    options = parse_options(
        [
            "-sSfL",
            "-XPUT",
            "-HA: 1",
            "-H",
            "-B: 2",
            "-ofirst",
            "-O",
            "-o",
            "third",
            "u1",
            "-m",
            "2",
            "u2",
        ]
    )

    assert (options.silent, options.show_error, options.fail, options.location) == (True,) * 4
    assert options.headers == ["A: 1", "-B: 2"]
    assert options.outputs == ["first", None, "third"]
    assert (options.urls, options.method, options.max_time) == (["u1", "u2"], "PUT", 2.0)


def test_pieces_of_content_keep_their_order() -> None:
    options = parse_options(
        [
            "-d",
            "1",
            "--json",
            "2",
            "--data-raw",
            "3",
            "--data-binary=4",
            "--data-urlencode",
            "5",
            "-d6",
            "u",
        ]
    )

    assert options.data == [
        (DataKind.FORM, "1"),
        (DataKind.JSON, "2"),
        (DataKind.RAW, "3"),
        (DataKind.BINARY, "4"),
        (DataKind.URLENCODE, "5"),
        (DataKind.FORM, "6"),
    ]
    assert parse_options(["u"]).data == []


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--window", "4s"], "window", 4.0),
        (["--window=250ms"], "window", 0.25),
        (["-m", "0"], "max_time", None),
        (["-m", "2m"], "max_time", 120.0),
        (["--connect-timeout", "0.5"], "connect_timeout", 0.5),
        (["--max-redirs", "-1"], "max_redirs", -1),
        (["--max-redirs", "0"], "max_redirs", 0),
        (["--retry", "3"], "retry", 3),
        (["--order", "listed"], "order", "listed"),
        (["--idempotency-key"], "idempotency_key", ""),
        (["--idempotency-key=k"], "idempotency_key", "k"),
        (["--backup", "a", "--backup", "b"], "backups", ["a", "b"]),
        (["-#"], "progress_bar", True),
        (["-4"], "ipv4", True),
        (["-c", "jar"], "cookie_jar", "jar"),
        (["--trace", "--trace-json", "f"], "trace_json", "f"),
        (["-x", ""], "proxy", ""),
    ],
)
def test_one_option(words: list[str], name: str, value: object) -> None:
    assert getattr(parse_options([*words, "u"]), name) == value


@pytest.mark.parametrize(
    ("words", "config", "jar"),
    [
        (["--target", "t", "-c", "f"], "f", None),
        (["--target", "t"], DEFAULT_CONFIG, None),
        (["--target", "t", "--config", "f"], "f", None),
        (["--target", "t", "--config", "f", "-c", "jar"], "f", "jar"),
    ],
)
def test_with_a_target_c_is_the_daemons_file(
    words: list[str], config: str, jar: str | None
) -> None:
    options = parse_options([*words, "/path"])

    assert (options.config, options.cookie_jar, options.target) == (config, jar, "t")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no URL: write 'haclient request [options] URL'"),
        (["-I", "-d", "x", "u"], "-d and -I ask for different methods: give one of them"),
        (["-T", "f", "-d", "x", "u"], "-d and -T ask for different methods"),
        (["-T", "f", "-I", "u"], "-T and -I ask for different methods"),
        (["-T", "f", "-G", "-d", "x", "u"], "-T and -G ask for different methods"),
        (["-f", "--fail-with-body", "u"], "-f and --fail-with-body exclude each other"),
        (["--config", "f", "u"], "--config needs --target NAME"),
        (["--idempotency-key", "order-7", "u.test"], "write --idempotency-key=order-7 for a key"),
        (["--order", "random", "u"], "--order"),
        (["--max-redirs", "-2", "u"], "--max-redirs"),
        (["-m", "-1", "u"], "-m"),
        (["--max-tim", "1", "u"], "did you mean --max-time?"),
    ],
)
def test_what_makes_no_sense(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_options(words)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_two_urls_after_a_bare_key_are_two_urls() -> None:
    options = parse_options(["--idempotency-key", "http://a.test/", "b.test"])

    assert options.urls == ["http://a.test/", "b.test"]


def test_help_is_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(["--help", "--nonsense-is-not-reached"][:1])

    shown = capsys.readouterr().out
    assert caught.value.code == 0
    for group in ("request", "content", "output", "availability", "connection", "TLS"):
        assert f"\n{group}:\n" in shown
