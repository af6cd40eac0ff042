"""-H: fields, removals, files; what curl makes of the same is asked in test_request_plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.ops.command_line import CommandError
from haclient.ops.header_lines import FieldLine, check_value, read_field_lines


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("X: 1", b"X", b"1"),
        ("X:1", b"X", b"1"),
        ("X: \t a  b \t", b"X", b"a  b"),
        ("X: a:b;c", b"X", b"a:b;c"),
        ("X:", b"X", None),
        ("X:  ", b"X", None),
        ("X;", b"X", b""),
        ("X;  ", b"X", b""),
        ("X: é", b"X", "é".encode()),
        ("X: \udcff", b"X", b"\xff"),
        ("X-!#$%&'*+.^_`|~9: y", b"X-!#$%&'*+.^_`|~9", b"y"),
    ],
)
def test_a_line(text: str, name: bytes, value: bytes | None) -> None:
    assert read_field_lines([text], bytes) == (FieldLine(name, value),)


def test_names_are_compared_without_case() -> None:
    assert FieldLine(b"Content-TYPE", None).is_named(b"content-type")


def test_files_and_stdin_have_a_field_on_each_line(tmp_path: Path) -> None:
    path = tmp_path / "fields"
    path.write_bytes(b"A: 1\r\n\n# B: 2\nC;\nD:\n  \n")

    assert read_field_lines(["X: 0", f"@{path}", "", "@-"], lambda: b"Z: 9") == (
        FieldLine(b"X", b"0"),
        FieldLine(b"A", b"1"),
        FieldLine(b"C", b""),
        FieldLine(b"D", None),
        FieldLine(b"Z", b"9"),
    )


@pytest.mark.parametrize(
    "text", ["X", "X y", "X : 1", ": 1", ";", "é: 1", "X;y", "X: a\nY: b", "X: \0"]
)
def test_what_is_no_field(text: str) -> None:
    with pytest.raises(CommandError, match=r"^-H ") as caught:
        read_field_lines([text], bytes)

    assert "\n" not in str(caught.value)


@given(st.text())
def test_no_line_makes_two_fields(text: str) -> None:
    try:
        lines = read_field_lines([text.removeprefix("@")], bytes)
    except (CommandError, UnicodeEncodeError):
        return
    assert len(lines) <= 1
    for line in lines:
        assert not set(line.name + (line.value or b"")) & set(b"\r\n\0")


def test_a_value_is_checked_for_any_option() -> None:
    assert check_value(b" a ", "-A") == b"a"
    with pytest.raises(CommandError, match=r"-A: a field value holds no '\\n'; take it out"):
        check_value(b"a\nb", "-A")
