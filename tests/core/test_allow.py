"""Whom a forward proxy may be used to reach: rules, requests, addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.allow import BLOCKS, MOST_SHOWN, AllowList, parse_rule


def allow(*rules: str) -> AllowList:
    return AllowList(tuple(map(parse_rule, rules)))


def is_allowed(rule: str, host: str, port: int, address: str = "") -> bool:
    """By the host, and, where there is one, by the address."""
    rules = allow(rule)
    if rules.judge(host, port) is not None:
        return False
    return not address or rules.judge_address(host, port, address) is None


# --- rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        "*:*",
        "*.internal:*",
        "host.example:443",
        "Host.Example.:443",
        "bücher.example:80",
        "10.0.0.0/8:443",
        "10.0.0.1:8000-8100",
        "[fd00::/8]:*",
        "[FD00:0::/8]:*",
        "[::1]:1-65535",
        "0.0.0.0/0:443",
    ],
)
def test_a_rule_is_read(rule: str) -> None:
    assert parse_rule(rule).text == rule


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("", 'write "HOST:PORT"'),
        ("host.example", 'write "HOST:PORT"'),
        ("host.example:", 'write "HOST:PORT"'),
        ("host.example:https", 'write "HOST:PORT"'),
        (":443", 'write "HOST:PORT"'),
        ("::1:443", 'write "HOST:PORT"'),
        ("[]:443", 'write "HOST:PORT"'),
        ("http://a:80", 'write "HOST:PORT"'),
        ("a:0", "0 is no port"),
        ("a:65536", "65536 is no port"),
        ("a:90-80", "90-80 is no port, nor a range of them"),
        ("a/b:1", "a/b is not an IPv4 address or range"),
        ("10.0.0.0/33:1", "10.0.0.0/33 is not an IPv4 address or range"),
        ("10.0.0.0/255.0.0.0:1", "is not an IPv4 address or range"),
        ("10.0.0.1/8:1", "10.0.0.1/8 has bits beyond its length; write 10.0.0.0/8"),
        ("[10.0.0.1]:1", "10.0.0.1 is not an IPv6 address or range"),
        ("[fe80::1%eth0]:1", "is not an IPv6 address or range"),
        ("[::ffff:10.0.0.1]:1", "is IPv4 in another dress"),
        ("[::ffff:0:0/104]:1", "is IPv4 in another dress"),
        ("127.1:80", "ends in a number"),
        ("0x7f.1:80", "ends in a number"),
        ("a*.example:80", "no letter, digit, hyphen or underscore"),
        ("*.:80", "it is empty"),
        ("*.*.example:80", "no letter, digit, hyphen or underscore"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_would_do(rule: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_rule(rule)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_that_come_near_are_shown_shortened() -> None:
    refused = allow(*(f"*:{port}" for port in range(1, MOST_SHOWN + 3))).judge("a.test", 80)

    assert refused is not None
    assert refused.reason.startswith('a.test:80 is not allowed: "*:1", "*:2", ')
    assert '"*:8", and 2 more is for other ports; ' in refused.reason


def test_equal_lists_are_one_key() -> None:
    assert len({allow("a:1", "10.0.0.0/8:2"), allow("a:1", "10.0.0.0/8:2"), allow("a:1")}) == 2


# --- by what is asked for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "host", "port", "expected"),
    [
        ("a.internal:443", "a.internal", 443, True),
        ("a.internal:443", "a.internal.", 443, True),
        ("a.internal:443", "a.internal", 444, False),
        ("a.internal:443", "b.a.internal", 443, False),
        ("a.internal:440-450", "a.internal", 440, True),
        ("a.internal:440-450", "a.internal", 450, True),
        ("a.internal:440-450", "a.internal", 451, False),
        ("*.internal:*", "a.internal", 1, True),
        ("*.internal:*", "a.b.internal", 65535, True),
        ("*.internal:*", "internal", 1, False),
        ("*.internal:*", "ainternal", 1, False),
        ("*.internal:*", ".internal", 1, False),
        ("*.internal:*", "a.internal.evil", 1, False),
        ("bücher.example:80", "xn--bcher-kva.example", 80, True),
        ("*:443", "anything", 443, True),
        ("*:443", "anything", 80, False),
        ("*:443", "198.51.100.7", 443, True),
        ("*:443", "::2", 80, False),
        ("10.0.0.0/8:443", "10.1.2.3", 443, True),
        ("10.0.0.0/8:443", "10.1.2.3", 80, False),
        ("10.0.0.0/8:443", "11.1.2.3", 443, False),
        ("10.0.0.0/8:443", "::ffff:a01:203", 443, True),
        ("[fd00::/8]:*", "fd00::1", 9, True),
        ("[fd00::/8]:*", "fc00::1", 9, False),
        # A name may have an address that a rule is for: that is seen when it is known.
        ("10.0.0.0/8:443", "anything", 443, True),
        ("10.0.0.0/8:443", "anything", 80, False),
    ],
)
def test_by_what_is_asked_for(rule: str, host: str, port: int, expected: bool) -> None:
    assert is_allowed(rule, host, port) is expected


def test_an_empty_list_allows_nothing() -> None:
    refused = AllowList().judge("a.internal", 443)

    assert refused is not None
    assert refused.reason == (
        'a.internal:443 is allowed by no rule of the list; a rule that allows it is "a.internal:443"'
    )


# --- by the address that would be dialled ---------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "address", "expected"),
    [
        ("a.test:80", "10.0.0.1", True),
        ("*.test:80", "10.0.0.1", True),
        ("*:80", "10.0.0.1", True),
        ("10.0.0.0/8:80", "10.0.0.1", True),
        ("10.0.0.0/8:80", "11.0.0.1", False),
        ("10.0.0.0/8:80", "::ffff:10.0.0.1", True),
        ("[fd00::/8]:80", "fd00::1", True),
        ("[fd00::/8]:80", "10.0.0.1", False),
        ("b.test:80", "10.0.0.1", False),
        # The very name, and the very address or a range within its block, name it ...
        ("a.test:80", "127.0.0.1", True),
        ("a.test:80", "::1", True),
        ("a.test:80", "169.254.169.254", True),
        ("127.0.0.1:80", "127.0.0.1", True),
        ("127.0.0.0/8:80", "127.9.9.9", True),
        ("127.0.0.0/16:80", "127.1.0.1", False),
        ("127.0.0.1:80", "::ffff:127.0.0.1", True),
        ("[::1]:80", "::1", True),
        ("169.254.0.0/16:80", "169.254.1.1", True),
        ("169.254.169.254:80", "169.254.169.254", True),
        ("[fe80::/10]:80", "fe80::1%eth0", True),
        # ... and nothing else does.
        ("*.test:80", "127.0.0.1", False),
        ("*.test:80", "::ffff:127.0.0.1", False),
        ("*:80", "127.0.0.1", False),
        ("0.0.0.0/0:80", "127.0.0.1", False),
        ("[::/0]:80", "::1", False),
        ("[::/0]:80", "::7f00:1", False),
        ("169.254.0.0/16:80", "169.254.169.254", False),
        ("100.64.0.0/10:80", "100.100.100.200", False),
        ("100.64.0.0/10:80", "100.100.100.201", True),
        ("*.test:80", "fe80::1", False),
        ("*.test:80", "fd00:ec2::254", False),
        ("[fd00::/8]:80", "fd00:ec2::254", False),
        # Connecting to these is never what a name is for, were it the very one.
        ("a.test:80", "0.0.0.0", False),
        ("a.test:80", "::", False),
        ("a.test:80", "224.0.0.1", False),
        ("a.test:80", "255.255.255.255", False),
        ("a.test:80", "240.0.0.1", False),
        ("a.test:80", "ff02::1", False),
        ("0.0.0.0:80", "0.0.0.0", True),
        # An IPv4 address inside: the range will do, unless that address is itself a special one.
        ("*.test:80", "64:ff9b::a00:1", False),
        ("[64:ff9b::/96]:80", "64:ff9b::a00:1", True),
        ("[64:ff9b::/96]:80", "64:ff9b::7f00:1", False),
        ("[64:ff9b::7f00:1]:80", "64:ff9b::7f00:1", True),
        ("[64:ff9b:1::/48]:80", "64:ff9b:1::1", True),
        ("[2002::/16]:80", "2002:a00:1::", True),
        ("[2002::/16]:80", "2002:7f00:1::", False),
        ("[2002::/16]:80", "2002:a9fe:a9fe::", False),
        ("[::/96]:80", "::10.0.0.1", True),
        ("[::/96]:80", "::127.0.0.1", False),
        ("[::ffff:0:0:0/96]:80", "::ffff:0:a9fe:a9fe", False),
        ("*.test:80", "2001:0:1::1", False),
        # NAT64 of one's own (RFC 8215): wherever RFC 6052, section 2.2, puts the IPv4 address.
        ("[64:ff9b:1::/48]:80", "64:ff9b:1:a9fe:a9:fe00::", False),
        ("[64:ff9b:1::/48]:80", "64:ff9b:1:a9:fe:a9fe::", False),
        ("[64:ff9b:1::/48]:80", "64:ff9b:1::a9:fea9:fe00:0", False),
        ("[64:ff9b:1::/48]:80", "64:ff9b:1::a9fe:a9fe", False),
        ("[64:ff9b:1::/48]:80", "64:ff9b:1:7f00:0:100::", False),
        ("[64:ff9b:1::a9fe:a9fe]:80", "64:ff9b:1::a9fe:a9fe", True),
        ("[64:ff9b:1::/48]:80", "64:ff9b:1:a01:2:300::", True),
        ("[64:ff9b:1::/48]:80", "64:ff9b:1::a01:203", True),
        # Teredo (RFC 4380): the client's address with its bits inverted, and its server's.
        ("[2001::/32]:80", "2001:0:a00:1:0:0:5601:5601", False),
        ("[2001::/32]:80", "2001:0:a9fe:a9fe:0:0:f5ff:fffe", False),
        ("[2001::/32]:80", "2001:0:a00:1:0:0:f5ff:fffe", True),
        ("[2001::]:80", "2001::", True),
        # ISATAP (RFC 5214), with any prefix and either form of its identifier.
        ("*.test:80", "2001:db8::5efe:a00:1", False),
        ("[2001:db8::/32]:80", "2001:db8::5efe:a00:1", False),
        ("[2001:db8::5efe:0:0/96]:80", "2001:db8::5efe:a00:1", True),
        ("[2001:db8::200:5efe:0:0/96]:80", "2001:db8::200:5efe:a00:1", True),
        ("[2001:db8::5efe:0:0/96]:80", "2001:db8::5efe:a9fe:a9fe", False),
        ("[2001:db8::200:5efe:0:0/96]:80", "2001:db8::200:5efe:7f00:1", False),
        ("[2001:db8::5efe:a9fe:a9fe]:80", "2001:db8::5efe:a9fe:a9fe", True),
        ("[fe80::/10]:80", "fe80::5efe:a00:1", True),
        ("[fe80::/10]:80", "fe80::5efe:a9fe:a9fe", False),
        ("*.test:80", "2001:db8::5eff:a00:1", True),
    ],
)
def test_by_the_address(rule: str, address: str, expected: bool) -> None:
    assert (allow(rule).judge_address("a.test", 80, address) is None) is expected


@pytest.mark.parametrize(
    ("rules", "host", "port", "address", "reason"),
    [
        (
            ["*.internal:*"],
            "a.internal",
            80,
            "127.0.0.1",
            '127.0.0.1 (of a.internal) is a loopback address, which "*.internal:*" leaves out; '
            'a rule has to name it, as "127.0.0.1:80"',
        ),
        (
            ["a.test:80"],
            "169.254.169.254",
            80,
            "169.254.169.254",
            "169.254.169.254 is a cloud's metadata address, allowed by no rule of the list; "
            'a rule has to name it, as "169.254.169.254:80"',
        ),
        (
            ["*:80"],
            "a.test",
            80,
            "::ffff:7f00:1",
            '::ffff:7f00:1 (of a.test) is a loopback address, which "*:80" leaves out; '
            'a rule has to name it, as "127.0.0.1:80"',
        ),
        (
            ["127.0.0.1:80"],
            "127.0.0.1",
            81,
            "127.0.0.1",
            '127.0.0.1:81 is not allowed: "127.0.0.1:80" is for other ports; a rule that allows it is '
            '"127.0.0.1:81"',
        ),
        (
            ["a.test:80"],
            "a.test",
            81,
            "127.0.0.1",
            'a.test:81 at 127.0.0.1 is not allowed: "a.test:80" is for other ports; a rule that allows '
            'it is "127.0.0.1:81"',
        ),
        (
            ["*:9999"],
            "127.0.0.1",
            9999,
            "127.0.0.1",
            '127.0.0.1 is a loopback address, which "*:9999" leaves out; a rule has to name it, as '
            '"127.0.0.1:9999"',
        ),
        (
            ["10.0.0.0/8:80"],
            "a.test",
            81,
            "10.0.0.1",
            'a.test:81 at 10.0.0.1 is not allowed: "10.0.0.0/8:80" is for other ports; a rule that '
            'allows it is "a.test:81"',
        ),
        (
            ["[fd00::/8]:80"],
            "fc00::1",
            80,
            "fc00::1",
            '[fc00::1]:80 is allowed by no rule of the list; a rule that allows it is "[fc00::1]:80"',
        ),
    ],
)
def test_a_refusal_says_which_rule_it_would_have_needed(
    rules: list[str], host: str, port: int, address: str, reason: str
) -> None:
    refused = allow(*rules).judge_address(host, port, address)

    assert refused is not None
    assert refused.reason == reason
    added = reason.rpartition(' "')[2].strip('"')
    assert allow(*rules, added).judge_address(host, port, address) is None


@given(
    st.sampled_from(BLOCKS).flatmap(
        lambda block: st.integers(0, block.network.num_addresses - 1).map(
            lambda number: str(block.network[number])
        )
    )
)
def test_what_is_special_is_let_in_by_no_pattern_and_no_large_range(address: str) -> None:
    rules = allow("*:*", "*.test:*", "0.0.0.0/0:*", "[::/0]:*")

    assert rules.judge_address("a.test", 80, address) is not None


@given(st.ip_addresses(), st.integers(1, 65535))
def test_the_very_address_lets_it_in_and_no_other(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    mapped = getattr(address, "ipv4_mapped", None) or address
    text = f"[{mapped}]" if mapped.version == 6 else str(mapped)
    rules = allow(f"{text}:{port}")

    assert rules.judge_address("a.test", port, str(address)) is None
    other = type(mapped)(int(mapped) ^ 1)
    assert rules.judge_address("a.test", port, str(other)) is not None
