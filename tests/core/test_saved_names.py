"""The state file's text: what is written is read, and what anybody else might write is not."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.saved_names import (
    FROM_THE_FUTURE,
    MAX_BYTES,
    SavedName,
    read_saved_names,
    saved_names_text,
)

NOW = 1_790_000_000.0
HOUR = 3600.0


def read(content: bytes) -> dict[str, SavedName]:
    """Where nothing is left out."""
    names, faults = read_saved_names(content, NOW, HOUR)
    assert faults == ()
    return names


def text(**members: object) -> bytes:
    return msgspec.json.encode({"version": 1, "names": {}, **members})


def name(
    host: str = "orders.internal", addresses: object = ("10.0.0.2",), at: object = NOW
) -> bytes:
    return text(names={host: {"addresses": addresses, "at": at}})


def test_what_it_looks_like() -> None:
    saved = {"orders.internal": SavedName(("10.0.0.2", "2001:db8::2"), NOW)}
    written = saved_names_text(saved)
    assert written == (
        b'{"version":1,"names":{"orders.internal":'
        b'{"addresses":["10.0.0.2","2001:db8::2"],"at":1790000000.0}}}\n'
    )
    assert read(written) == saved


def test_a_service_and_its_records() -> None:
    saved = {"srv+_orders._tcp.test": SavedName(("10 5 8080 a.test.",), NOW)}
    assert read(saved_names_text(saved)) == saved


@pytest.mark.parametrize(
    ("at", "is_read"),
    [
        pytest.param(NOW - HOUR + 0.1, True, id="just young enough"),
        pytest.param(NOW - HOUR, False, id="too old"),
        pytest.param(NOW + FROM_THE_FUTURE, True, id="two clocks that differ a little"),
        pytest.param(NOW + FROM_THE_FUTURE + 1, False, id="a clock that was set back"),
        pytest.param(int(NOW), True, id="a whole number"),
    ],
)
def test_an_answer_of_another_time_is_passed_over_and_the_others_hold(
    at: float, is_read: bool
) -> None:
    saved = {"x": SavedName(("10.0.0.2",), at), "y": SavedName(("10.0.0.3",), NOW)}
    assert ("x" in read(saved_names_text(saved))) is is_read
    assert "y" in read(saved_names_text(saved))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "truncated", id="empty"),
        pytest.param(b"\0" * 512, "malformed", id="zeros, as after a power cut"),
        pytest.param(name()[:-9], "truncated", id="a part of it"),
        pytest.param(b'{"names":{}}', "version", id="no version"),
        pytest.param(text(version=2), "version 2", id="another version"),
        pytest.param(text(version="1"), "int", id="a version that is no number"),
        pytest.param(text(servers=[]), "unknown field", id="an unknown member"),
        pytest.param(text(names=[]), "object", id="names that are a list"),
        pytest.param(name(addresses="10.0.0.2"), "array", id="one address, no list"),
        pytest.param(name(addresses=[]), "length >= 1", id="no address"),
        pytest.param(name(addresses=["10.0.0.2"] * 513), "length <= 512", id="too many addresses"),
        pytest.param(name(addresses=[7]), "str", id="a number for an address"),
        pytest.param(name(at=-1), ">= 0", id="before 1970"),
        pytest.param(name(at="now"), "float", id="a word for an instant"),
        pytest.param(name(at=None), "float", id="no instant"),
        pytest.param(b'{"version":1,"names":{"x":{"addresses":["10.0.0.2"],"at":1e999}}}', "out of range", id="an infinite instant"),
        pytest.param(b'{"version":1,"names":{"x":{"addresses":["10.0.0.2"],"at":NaN}}}', "invalid", id="no instant at all"),
        pytest.param(b"[" * 100_000, ".", id="deep nesting"),
    ],
)  # fmt: skip
def test_what_is_not_ours_is_refused_whole(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_saved_names(content, NOW, HOUR)


@pytest.mark.parametrize(
    ("host", "addresses", "why"),
    [
        pytest.param("x", ["evil.example"], "not an IP", id="a name for an address"),
        pytest.param("x", ["10.0.0.02"], "not an IP", id="an octal part"),
        pytest.param("x", ["2001:DB8::2"], "not an IP", id="not the shortest form"),
        pytest.param("x", ["10.0.0.3", "/run/x.sock"], "not an IP", id="a path"),
        pytest.param("", ["10.0.0.3"], "not a host name", id="no host"),
        pytest.param("a b", ["10.0.0.3"], "not a host name", id="a host that is none"),
        pytest.param("ORDERS", ["10.0.0.3"], "not a host name", id="a host in capitals"),
        pytest.param("x" * 9999, ["10.0.0.3"], "not a host name", id="a very long host"),
        pytest.param("srv+", ["1 2 80 a.test."], "not a host name", id="no service"),
        pytest.param("srv+_a._tcp.test", ["10.0.0.3"], "not a service", id="an address for a service"),
        pytest.param("x", ["1 2 80 a.test."], "not an IP", id="a service for an address"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_as_we_write_it_is_left_out_alone(
    host: str, addresses: list[str], why: str
) -> None:
    good = {"addresses": ["10.0.0.2"], "at": NOW}
    content = text(names={"a": good, host: {"addresses": addresses, "at": NOW}, "z": good})

    names, faults = read_saved_names(content, NOW, HOUR)

    assert list(names) == ["a", "z"]
    (fault,) = faults
    assert why in fault
    assert len(fault) < 200


def test_no_more_is_written_than_is_read() -> None:
    widest = tuple(f"1 2 80 {number:0>1000}." for number in range(512))
    names = {f"srv+_n{number}._tcp.test": SavedName(widest, NOW) for number in range(64)}

    written = saved_names_text(names)

    assert MAX_BYTES - 600_000 < len(written) <= MAX_BYTES
    assert read(written) == dict(list(names.items())[: len(read(written))])


def test_more_names_than_are_kept_are_refused() -> None:
    names = {f"n{number}": SavedName(("10.0.0.2",), NOW) for number in range(1025)}
    with pytest.raises(ValueError, match="length <= 1024"):
        read_saved_names(text(names=names), NOW, HOUR)
    assert list(read(saved_names_text(names))) == list(names)[:1024]


@given(st.binary())
def test_no_bytes_do_any_harm(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert read_saved_names(content, NOW, HOUR)[0] == {}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,10}(\.[a-z]{1,10})?", fullmatch=True),
        st.builds(
            SavedName,
            st.lists(st.ip_addresses().map(str), min_size=1, max_size=3).map(tuple),
            st.floats(NOW - HOUR + 1, NOW),
        ),
    )
)
def test_whatever_is_written_is_read(names: dict[str, SavedName]) -> None:
    assert read(saved_names_text(names)) == names
