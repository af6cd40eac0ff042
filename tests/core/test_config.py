"""The values of a configuration: doors and what they share routes and what they hide."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.config import (
    Bind,
    Config,
    InheritedBind,
    ResolverSettings,
    TcpBind,
    UnixBind,
    parse_bind,
)

LONGEST = "/" + "x" * 106


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:8080", TcpBind("127.0.0.1", 8080)),
        ("0.0.0.0:0", TcpBind("0.0.0.0", 0)),
        ("[::1]:65535", TcpBind("::1", 65535)),
        ("[0:0:0:0:0:0:0:1]:80", TcpBind("::1", 80)),
        ("[fe80::1%eth0]:80", TcpBind("fe80::1%eth0", 80)),
        ("unix:/run/haclient/a.sock", UnixBind("/run/haclient/a.sock")),
        (f"unix:{LONGEST}", UnixBind(LONGEST)),
        ("systemd:orders", InheritedBind("orders")),
        (f"systemd:{'x' * 255}", InheritedBind("x" * 255)),
    ],
)
def test_a_bind_is_read(text: str, bind: Bind) -> None:
    assert parse_bind(text) == bind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write an address and a port"),
        ("8080", "write an address and a port"),
        (":8080", "write an address and a port"),
        ("*:8080", "write an address and a port"),
        ("localhost:8080", "write an address and a port"),
        ("127.0.0.1", "write an address and a port"),
        ("127.0.0.1:", "write an address and a port"),
        ("127.0.0.1:65536", "write an address and a port"),
        ("127.0.0.1:-1", "write an address and a port"),
        ("127.0.0.1:８０", "write an address and a port"),
        ("127.1:80", "write an address and a port"),
        ("127.0.0.256:80", "write an address and a port"),
        ("::1:80", "write an address and a port"),
        ("[::1]", "write an address and a port"),
        ("127.0.0.1:80\n", "write an address and a port"),
        ("unix", "write an address and a port"),
        ("unix:", "the path of a socket is absolute"),
        ("unix:run/a.sock", "the path of a socket is absolute"),
        ("unix:/run/", "the path of a socket is absolute"),
        ("unix:@abstract", "the path of a socket is absolute"),
        ("unix:/run/\0", "the path of a socket is absolute"),
        (f"unix:{LONGEST}x", "107 bytes at the most, and this one 108"),
        (f"unix:/{'é' * 54}", "107 bytes at the most, and this one 109"),
        ("systemd", "write an address and a port"),
        ("systemd:", "FileDescriptorName"),
        ("systemd:a:b", "FileDescriptorName"),
        ("systemd:a b", "FileDescriptorName"),
        (f"systemd:{'x' * 256}", "FileDescriptorName"),
    ],
)
def test_what_is_no_bind_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_bind(text)


def addresses() -> st.SearchStrategy[str]:
    return st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(
    st.one_of(
        st.builds(TcpBind, addresses(), st.integers(0, 65535)),
        st.builds(UnixBind, st.from_regex(r"/[a-z./]{0,100}[a-z]", fullmatch=True)),
        st.builds(InheritedBind, st.from_regex(r"[!-9;-~]{1,255}", fullmatch=True)),
    )
)
def test_a_bind_is_read_as_it_is_written(bind: Bind) -> None:
    assert parse_bind(str(bind)) == bind


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("[::ffff:10.0.0.1]:1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("169.254.0.1:1", False),
        ("[fe80::1%eth0]:1", False),
        ("unix:/a", True),
        ("systemd:a", False),
    ],
)
def test_who_can_reach_a_bind(text: str, is_local: bool) -> None:
    assert parse_bind(text).is_local is is_local


@given(addresses())
def test_no_address_beyond_loopback_is_local(address: str) -> None:
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    in_loopback = (mapped or ip) in ipaddress.ip_network(
        "127.0.0.0/8" if (mapped or ip).version == 4 else "::1/128"
    )
    assert TcpBind(address, 1).is_local is in_loopback


@pytest.mark.parametrize(
    ("first", "second", "collide"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("[::1]:80", "[::]:80", True),
        ("[::]:80", "0.0.0.0:80", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:80", "unix:/a", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("systemd:a", "systemd:a", True),
        ("systemd:a", "systemd:b", False),
        ("systemd:a", "unix:/a", False),
    ],
)
def test_which_binds_collide(first: str, second: str, collide: bool) -> None:
    one, other = parse_bind(first), parse_bind(second)
    assert one.collides_with(other) is collide
    assert other.collides_with(one) is collide


def test_no_ttl_lies_between_a_high_least_and_a_low_most() -> None:
    with pytest.raises(ValueError, match="min_ttl is 5 s, above max_ttl, 4 s"):
        ResolverSettings(min_ttl=5, max_ttl=4)
    assert ResolverSettings(min_ttl=4, max_ttl=4).min_ttl == 4


def test_a_file_that_says_nothing_has_every_default() -> None:
    config = Config(targets={})

    assert (config.listeners, config.admin) == ((), None)
    assert (config.drain_timeout, config.replay_memory) == (30.0, 32 << 20)
    assert (config.log.format, config.log.level, config.log.access) == ("text", "info", True)
    assert config.resolver == ResolverSettings(min_ttl=1, max_ttl=300, stale_for=3600)
