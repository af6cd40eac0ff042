"""Colours and signs, for each kind of stream and environment."""

from __future__ import annotations

import io
import json

import pytest

from haclient.ops.style import Colour, Sign, Style, can_encode, json_text, printable


class Terminal(io.StringIO):
    """A stream that says it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class AsciiTerminal(Terminal):
    encoding = "ascii"


class Pipe(Terminal):
    def isatty(self) -> bool:
        return False


ENVIRONMENTS = {
    "a terminal is coloured": (Terminal(), {}, True),
    "a pipe is not": (Pipe(), {}, False),
    "a pipe is if FORCE_COLOR is set": (Pipe(), {"FORCE_COLOR": "1"}, True),
    "NO_COLOR is obeyed": (Terminal(), {"NO_COLOR": "1"}, False),
    "an empty NO_COLOR means nothing": (Terminal(), {"NO_COLOR": ""}, True),
    "an empty FORCE_COLOR means nothing": (Pipe(), {"FORCE_COLOR": ""}, False),
    "NO_COLOR has the last word": (Pipe(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    "a dumb terminal is not": (Terminal(), {"TERM": "dumb"}, False),
}


@pytest.mark.parametrize(
    ("stream", "environ", "is_coloured"), ENVIRONMENTS.values(), ids=ENVIRONMENTS
)
def test_who_gets_colours(stream: Terminal, environ: dict[str, str], is_coloured: bool) -> None:
    assert Style.of(stream, environ).is_coloured is is_coloured


def test_text_is_painted_with_all_colours_and_an_end() -> None:
    style = Style(is_coloured=True)
    assert style.paint("dead", Colour.BOLD, Colour.RED) == "\x1b[1;31mdead\x1b[0m"


@pytest.mark.parametrize(
    ("style", "text", "colours"),
    [
        (Style(is_coloured=False), "dead", [Colour.RED]),
        (Style(is_coloured=True), "dead", []),
        (Style(is_coloured=True), "", [Colour.RED]),
    ],
    ids=["no colours are wanted", "none is given", "there is nothing to paint"],
)
def test_text_stays_as_it_is(style: Style, text: str, colours: list[Colour]) -> None:
    assert style.paint(text, *colours) == text


def test_signs_have_stand_ins_where_the_encoding_lacks_them() -> None:
    assert Style.of(Terminal(), {}).sign(Sign.DONE) == "✔"
    assert Style.of(AsciiTerminal(), {}).sign(Sign.DONE) == "+"


def test_every_stand_in_is_one_character_of_ascii() -> None:
    assert all(len(each.stand_in) == 1 and each.stand_in.isascii() for each in Sign)


def test_a_stream_without_an_encoding_has_ascii() -> None:
    assert can_encode(io.StringIO(), "abc")
    assert not can_encode(io.StringIO(), "✔")


def test_an_unknown_encoding_has_nothing() -> None:
    stream = AsciiTerminal()
    stream.encoding = "no-such-encoding"
    assert not can_encode(stream, "abc")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("200 OK", "200 OK"),
        ("grün", "grün"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\r\nb\x00\x7f", "a\\r\\nb\\x00\\x7f"),
        ("\x9b2J\u202e", "\\x9b2J\\u202e"),
    ],
    ids=["plain", "other letters", "escape", "line ends and others of C0", "C1 and right-to-left"],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_json_text_is_indented_json_with_a_line_end() -> None:
    text = json_text({"a": [1, None]})
    assert json.loads(text) == {"a": [1, None]}
    assert text.startswith('{\n  "a"')
    assert text.endswith("}\n")
