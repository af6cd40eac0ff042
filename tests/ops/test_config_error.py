"""One mistake, as one line."""

from __future__ import annotations

import datetime
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.config_check import KeyPath
from haclient.ops.config_error import ConfigError, key_name, nearest, shown, table_name


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("f", 3, "log", "level", "1", "no"), "f:3: [log] level = 1: no"),
        (ConfigError("f", 3, "log", "", "", "no"), "f:3: [log]: no"),
        (ConfigError("f", 3, "", "log", "1", "no"), "f:3: log = 1: no"),
        (ConfigError("f", 0, "", "", "", "no"), "f: no"),
        (ConfigError("f", 3, "log", "lvl", "1", "no", "level"), "f:3: [log] lvl = 1: no; did you mean level?"),
        (ConfigError("f\x1b", 3, "a", "b\nc", "1", "\x00"), "f\\x1b:3: [a] b\\nc = 1: \\x00"),
    ],
)  # fmt: skip
def test_a_mistake_as_a_line(error: ConfigError, line: str) -> None:
    assert str(error) == line


def test_a_label_stands_behind_the_place() -> None:
    assert ConfigError("f", 3, "log", "", "", "no").text("warning") == "f:3: warning: [log]: no"


@pytest.mark.parametrize(
    ("path", "table", "key"),
    [
        (("log",), "log", ""),
        (("log", "level"), "log", "level"),
        (("target", "a"), "target.a", ""),
        (("target", "a", "urls", 0), "target.a", "urls[0]"),
        (("target", "a.b", "tls", "ca_file"), 'target."a.b"', "tls.ca_file"),
        (("listener", "a", "routes", 1, "pa th"), "listener.a", 'routes[1]."pa th"'),
    ],
)
def test_where_a_path_leads(path: KeyPath, table: str, key: str) -> None:
    assert (table_name(path), key_name(path)) == (table, key)


def test_the_nearest_word() -> None:
    assert nearest("failover_windw", ["urls", "failover_window"]) == "failover_window"
    assert nearest("x", ["urls"]) == ""


def test_what_a_word_is_called_elsewhere_goes_before_what_it_looks_like() -> None:
    others = {"timeout": "response_timeout"}
    assert nearest("Timeout", ["queue_timeout", "response_timeout"], others) == "response_timeout"
    assert nearest("timeout", ["idle_timeout"], others) == "idle_timeout"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        ([1, "a"], '[1, "a"]'),
        ({}, "{}"),
        ({"a b": {"c": 1}}, '{ "a b" = { c = 1 } }'),
        (datetime.date(1979, 5, 27), "1979-05-27"),
        ("x" * 200, '"' + "x" * 99 + "…"),
        ("http://user:secret@a.test/", '"http://***@a.test/"'),
        ("http://a.test/x@y", '"http://a.test/x@y"'),
    ],
)
def test_a_value_as_it_would_be_written(value: object, text: str) -> None:
    assert shown(value) == text


SCALARS = st.booleans() | st.integers(-999, 999) | st.text("ab\"\\'\n\t é", max_size=6)


@given(
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("ab .", min_size=1, max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_what_is_shown_is_toml(value: object) -> None:
    text = shown(value)
    assert text.endswith("…") or tomllib.loads(f"key = {text}")["key"] == value
