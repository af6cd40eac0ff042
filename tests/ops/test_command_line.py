"""A command line as curl reads it."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.ops.command_line import (
    CommandError,
    CommandParser,
    _columns,
    count,
    duration,
    parse_duration,
    takes_value,
)


def parser() -> CommandParser:
    one = CommandParser("haclient test", usage="u", description="d", epilog="e")
    one.add_argument("-s", "--silent", action="store_true", help="no words")
    one.add_argument("-f", "--fail", action="store_true")
    one.add_argument("-d", "--data", metavar="DATA", help="content")
    one.add_argument("-X", "--request", metavar="METHOD")
    one.add_argument("--key", nargs="?", const="", metavar="KEY")
    one.add_argument("--wait", type=duration)
    one.add_argument("--times", type=count)
    one.add_argument("urls", nargs="*")
    return one


@pytest.mark.parametrize(
    ("words", "canonical"),
    [
        ([], ["--"]),
        (["url"], ["--", "url"]),
        (["-s", "url", "-f"], ["--silent", "--fail", "--", "url"]),
        (["-sf"], ["--silent", "--fail", "--"]),
        (["-sfdx"], ["--silent", "--fail", "--data=x", "--"]),
        (["-sd", "x"], ["--silent", "--data=x", "--"]),
        (["-d", "-s"], ["--data=-s", "--"]),
        (["-d", "--"], ["--data=--", "--"]),
        (["-d=5"], ["--data==5", "--"]),
        (["-d", ""], ["--data=", "--"]),
        (["--data", "-1"], ["--data=-1", "--"]),
        (["--data=x=y"], ["--data=x=y", "--"]),
        (["--key", "url"], ["--key", "--", "url"]),
        (["--key=k", "url"], ["--key=k", "--", "url"]),
        (["-s", "--", "-f", "--data"], ["--silent", "--", "-f", "--data"]),
        (["-"], ["--", "-"]),
    ],
)
def test_every_way_of_writing_has_one_form(words: list[str], canonical: list[str]) -> None:
    assert parser().canonical(words) == canonical


def test_values_arrive_whole() -> None:
    read = parser().parse_args(
        parser().canonical(["-sd=-1", "-XPUT", "--wait", "250ms", "-", "--", "-f"])
    )

    assert (read.silent, read.fail, read.data, read.request) == (True, False, "=-1", "PUT")
    assert (read.wait, read.urls, read.key) == (0.25, ["-", "-f"], None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--dat", "x"],
            "option --dat is unknown; did you mean --data?; see 'haclient test --help'",
        ),
        (["--nonsense"], "option --nonsense is unknown; see 'haclient test --help'"),
        (["-sQ"], "option -Q is unknown (in '-sQ'); see 'haclient test --help'"),
        (["-d"], "option -d needs a value; see 'haclient test --help'"),
        (["-sd"], "option -d needs a value; see 'haclient test --help'"),
        (["--request"], "option --request needs a value; see 'haclient test --help'"),
        (["--silent=1"], "option --silent takes no value; see 'haclient test --help'"),
    ],
)
def test_what_makes_no_sense_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        parser().canonical(words)

    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("word", ["--wait=soon", "--times=-1", "--times=1.5", "--times=9999999999"])
def test_a_value_of_the_wrong_kind_is_one_line(word: str) -> None:
    with pytest.raises(CommandError, match=r"--(wait|times).*see 'haclient test --help'"):
        parser().parse_args([word])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("4s", 4.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("3", 3.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1.5s", 1.5),
        ("1e1", 10.0),
        (" 1s ", 1.0),
        ("0", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1 s", "1d", "nan", "inf", "1ss", "0x1", "1_0", "٣"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match='write "250ms", "4s", "2m" or a number of seconds'):
        parse_duration(text)


@given(st.text())
def test_a_duration_is_a_number_or_an_error(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        assert "no duration" in str(error)  # noqa: PT017


def test_help_names_the_value_once(capsys: pytest.CaptureFixture[str]) -> None:
    parser().print_help()

    shown = capsys.readouterr().out
    assert "  -d, --data DATA  " in shown
    assert "  -s, --silent  " in shown
    assert "  --key[=KEY]" in shown


def test_which_options_take_a_value() -> None:
    takers = {
        action.option_strings[-1]
        for action in parser()._actions
        if action.option_strings and takes_value(action)
    }
    assert takers == {"--data", "--request", "--key", "--wait", "--times"}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [("40", 40), ("200", 200), ("", None), ("0", None), ("-5", None), ("wide", None)],
)
def test_help_is_as_wide_as_shutil_says(
    columns: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    assert _columns() == shutil.get_terminal_size().columns
    assert expected is None or _columns() == expected
