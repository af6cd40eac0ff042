"""The files of the machine and the spelling of names: tables, and properties over any text."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.names import (
    MAX_NAME_LENGTH,
    ResolvConf,
    describe_nameserver,
    ip_literal,
    is_ip_literal,
    is_localhost,
    is_loopback,
    parse_hosts,
    parse_nameserver,
    parse_resolv_conf,
    query_names,
    to_ascii,
    whom_kernel_dials,
)
from haclient.types import Endpoint

HOSTS = """\
# the machine itself
127.0.0.1 localhost
::1       localhost ip6-localhost
10.0.0.1  Orders.Internal orders   # two names, one in capitals
10.0.0.2\torders.internal.\tbackup # a tab, and a trailing dot
10.0.0.1  orders.internal          # again
fe80::1%eth0 router
300.1.1.1 wrong
nonsense
10.0.0.9
#10.0.0.3 orders.internal
"""


class TestHosts:
    @pytest.mark.parametrize(
        ("host", "addresses"),
        [
            pytest.param(
                "localhost", ("127.0.0.1", "::1"), id="both families, in the order of the file"
            ),
            pytest.param("orders.internal", ("10.0.0.1", "10.0.0.2"), id="every line, each once"),
            pytest.param("orders.internal.", ("10.0.0.1", "10.0.0.2"), id="asked as absolute"),
            pytest.param("orders", ("10.0.0.1",), id="an alias"),
            pytest.param("backup", ("10.0.0.2",), id="behind a tab"),
            pytest.param("router", ("fe80::1%eth0",), id="an address with a zone"),
            pytest.param("wrong", (), id="a line without an address is passed over"),
            pytest.param("nobody", (), id="a name that is not there"),
            pytest.param("", (), id="no name"),
        ],
    )
    def test_lookup(self, host: str, addresses: tuple[str, ...]) -> None:
        assert parse_hosts(HOSTS).lookup(host) == addresses

    @given(st.text())
    def test_any_text_is_read_and_gives_only_addresses(self, text: str) -> None:
        for name, addresses in parse_hosts(text).addresses.items():
            assert name == name.lower()
            assert addresses
            assert all(ipaddress.ip_address(address) for address in addresses)


def server(address: str, port: int = 53) -> Endpoint:
    return Endpoint(address, port)


DEFAULT = ResolvConf()


class TestResolvConf:
    def test_the_defaults_are_those_of_resolv_conf_5_but_for_the_timeout(self) -> None:
        assert ResolvConf(
            nameservers=(server("127.0.0.1"),), search=(), ndots=1, timeout=2, attempts=2
        ) == parse_resolv_conf("")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param(
                "nameserver 10.0.0.53\nnameserver 2001:DB8::53\n",
                ResolvConf((server("10.0.0.53"), server("2001:db8::53"))),
                id="name servers in their order",
            ),
            pytest.param(
                "nameserver 1.0.0.1\nnameserver 1.0.0.1\nnameserver 1.0.0.2\n"
                "nameserver 1.0.0.3\nnameserver 1.0.0.4\n",
                ResolvConf((server("1.0.0.1"), server("1.0.0.2"), server("1.0.0.3"))),
                id="three different ones at the most",
            ),
            pytest.param(
                "nameserver fe80::1%eth0\n",
                ResolvConf((server("fe80::1%eth0"),)),
                id="a name server with a zone",
            ),
            pytest.param(
                "nameserver\nnameserver dns.example\nnameserver 10.0.0.53:53\n",
                DEFAULT,
                id="what is no address is passed over",
            ),
            pytest.param(
                "; nameserver 10.0.0.1\n#nameserver 10.0.0.2\n\nsortlist 10.0.0.0\n",
                DEFAULT,
                id="comments, empty lines and unknown words are passed over",
            ),
            pytest.param(
                "search corp.example Lab.Example.\n",
                ResolvConf(search=("corp.example", "lab.example")),
                id="the search list in lower case without dots at the end",
            ),
            pytest.param(
                "search one.example two.example\ndomain last.example ignored\n",
                ResolvConf(search=("last.example",)),
                id="of search and domain the last one counts",
            ),
            pytest.param(
                "search . a..b good.example good.example\n",
                ResolvConf(search=("good.example",)),
                id="search domains that are no names are passed over",
            ),
            pytest.param(
                "options ndots:5 timeout:1 attempts:3\n",
                ResolvConf(ndots=5, timeout=1, attempts=3),
                id="options",
            ),
            pytest.param(
                "options ndots:99 timeout:99999999999999999999 attempts:6\n",
                ResolvConf(ndots=15, timeout=30, attempts=5),
                id="the caps of resolv.conf(5)",
            ),
            pytest.param(
                "options ndots:0 timeout:0 attempts:0\n",
                ResolvConf(ndots=0, timeout=1, attempts=1),
                id="at least one second and one attempt",
            ),
            pytest.param(
                "options ndots: timeout:-1 attempts:two ndots\n",
                DEFAULT,
                id="numbers that are none are passed over",
            ),
            pytest.param(
                "options ndots:2\noptions timeout:3\n",
                ResolvConf(ndots=2, timeout=3),
                id="options add up over lines",
            ),
            pytest.param(
                "options use-vc no-aaaa edns0 rotate\n",
                ResolvConf(uses_tcp_only=True, asks_for_ipv6=False),
                id="TCP only, IPv4 only",
            ),
        ],
    )
    def test_parse(self, text: str, expected: ResolvConf) -> None:
        assert parse_resolv_conf(text) == expected

    def test_a_long_search_list_is_cut(self) -> None:
        text = "search " + " ".join(f"d{i}.example" for i in range(40))
        assert parse_resolv_conf(text).search == tuple(f"d{i}.example" for i in range(32))

    @given(st.lists(st.one_of(st.text(), st.sampled_from(
        ["nameserver ", "search ", "domain ", "options ndots:", "options timeout:", "1", " ", "\n"]
    ))).map("".join))  # fmt: skip
    def test_any_text_is_read_and_stays_within_the_limits(self, text: str) -> None:
        conf = parse_resolv_conf(text)
        assert 1 <= len(conf.nameservers) <= 3
        assert len(conf.search) <= 32
        assert 0 <= conf.ndots <= 15
        assert 1 <= conf.timeout <= 30
        assert 1 <= conf.attempts <= 5


class TestNameserver:
    @pytest.mark.parametrize(
        ("text", "expected", "described"),
        [
            ("10.0.0.53", server("10.0.0.53"), "10.0.0.53"),
            ("10.0.0.53:53", server("10.0.0.53"), "10.0.0.53"),
            ("127.0.0.1:5353", server("127.0.0.1", 5353), "127.0.0.1:5353"),
            ("::1", server("::1"), "::1"),
            ("[::1]", server("::1"), "::1"),
            ("[::1]:5353", server("::1", 5353), "[::1]:5353"),
            ("fe80::1%eth0", server("fe80::1%eth0"), "fe80::1%eth0"),
        ],
    )
    def test_parse_and_describe(self, text: str, expected: Endpoint, described: str) -> None:
        assert parse_nameserver(text) == expected
        assert describe_nameserver(expected) == described

    @pytest.mark.parametrize(
        "text",
        ["", "dns.example", "10.0.0.53:", "10.0.0.53:0", "10.0.0.53:65536", "10.0.0.53:123456",
         "[::1]:x", "[::1", "[::1]5353", "[]:53", ":53", "1.2.3.4:٣"],
    )  # fmt: skip
    def test_what_is_none_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"is not a name server: give an IP address") as caught:
            parse_nameserver(text)
        assert repr(text) in str(caught.value)

    @given(st.text())
    def test_any_text_gives_an_endpoint_or_a_value_error(self, text: str) -> None:
        try:
            found = parse_nameserver(text)
        except ValueError:
            return
        assert is_ip_literal(found.address)
        assert 1 <= found.port <= 65535


class TestLiterals:
    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("[::1]", None),
            ("127.1", None),
            ("127.0.0.01", None),
            ("1.2.3.4.5", None),
            ("localhost", None),
            ("host1", None),
            ("", None),
        ],
    )
    def test_ip_literal(self, host: str, expected: str | None) -> None:
        assert ip_literal(host) == expected
        assert is_ip_literal(host) is (expected is not None)

    @given(st.text())
    def test_any_text_gives_a_literal_that_stands_for_itself_or_none(self, host: str) -> None:
        literal = ip_literal(host)
        assert literal is None or ip_literal(literal) == literal

    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            ("localhost", True),
            ("localhost.", True),
            ("a.b.localhost", True),
            ("notlocalhost", False),
            ("localhost.example", False),
        ],
    )
    def test_localhost_is_recognised_by_its_last_label(self, host: str, expected: bool) -> None:
        assert is_localhost(host) is expected


class TestToAscii:
    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            pytest.param("orders", "orders", id="a single label"),
            pytest.param("Orders.INTERNAL", "orders.internal", id="lower case"),
            pytest.param("orders.internal.", "orders.internal.", id="a trailing dot stays"),
            pytest.param("my_service.a-b.1x", "my_service.a-b.1x", id="underscore and digits"),
            pytest.param("Bücher.example", "xn--bcher-kva.example", id="an A-label"),
            pytest.param("straße.example", "xn--strae-oqa.example", id="IDNA 2008, not strasse"),
            pytest.param("例え。テスト", "xn--r8jz45g.xn--zckzah", id="an ideographic full stop"),
            pytest.param("a" * 63 + ".example", "a" * 63 + ".example", id="63 characters"),
            pytest.param(".".join(["a" * 62] * 4) + ".", ".".join(["a" * 62] * 4) + ".",
                         id="251 characters and a dot"),
        ],
    )  # fmt: skip
    def test_names(self, host: str, expected: str) -> None:
        assert to_ascii(host) == expected

    @pytest.mark.parametrize(
        ("host", "why"),
        [
            pytest.param("", "it is empty", id="empty"),
            pytest.param(".", "it is empty", id="only a dot"),
            pytest.param("a..b", "nothing between two of its dots", id="an empty label"),
            pytest.param("a..", "nothing between two of its dots", id="two dots at the end"),
            pytest.param(".a", "nothing between two of its dots", id="a dot in front"),
            pytest.param("a b", "'a b' has a character that is no letter", id="a space"),
            pytest.param("a\x00b", "has a character that is no letter", id="a NUL"),
            pytest.param("a/b", "has a character that is no letter", id="a slash"),
            pytest.param("a\n", "has a character that is no letter", id="a line end"),
            pytest.param("x" * 64, "has 64 characters, 63 is the most", id="a long label"),
            pytest.param("ab." * 85, "has 254 characters, 253 is the most", id="a long name"),
            pytest.param("127.1", "it ends in a number", id="a shortened address"),
            pytest.param("0x7f.0x1", "it ends in a number", id="a hexadecimal address"),
            pytest.param("1.2.3.4.5", "it ends in a number", id="one part too many"),
            pytest.param("☃\u200d.example", "is not a host name", id="not in IDNA 2008"),
        ],
    )  # fmt: skip
    def test_what_nobody_could_know_is_refused(self, host: str, why: str) -> None:
        with pytest.raises(ValueError, match="is not a host name: ") as caught:
            to_ascii(host)
        assert why in str(caught.value)

    @given(st.one_of(st.text(), st.text("abc.-_ÄßÖ123", max_size=80)))
    def test_any_text_gives_a_name_that_stands_for_itself_or_a_value_error(self, host: str) -> None:
        try:
            name = to_ascii(host)
        except ValueError:
            return
        assert to_ascii(name) == name
        assert len(name.removesuffix(".")) <= MAX_NAME_LENGTH
        assert all(0 < len(label) <= 63 for label in name.removesuffix(".").split("."))


class TestQueryNames:
    @pytest.mark.parametrize(
        ("host", "ndots", "search", "expected"),
        [
            pytest.param("orders", 1, (), ("orders.",), id="no search list"),
            pytest.param(
                "orders",
                1,
                ("corp.example", "lab.example"),
                ("orders.corp.example.", "orders.lab.example.", "orders."),
                id="fewer dots than ndots: the search list first",
            ),
            pytest.param(
                "orders.internal",
                1,
                ("corp.example",),
                ("orders.internal.", "orders.internal.corp.example."),
                id="as many dots as ndots: as it is first",
            ),
            pytest.param(
                "orders.internal",
                5,
                ("default.svc.cluster.local",),
                ("orders.internal.default.svc.cluster.local.", "orders.internal."),
                id="ndots 5, as in Kubernetes",
            ),
            pytest.param("orders.", 5, ("corp.example",), ("orders.",), id="a trailing dot"),
            pytest.param("a", 0, ("b",), ("a.", "a.b."), id="ndots 0"),
        ],
    )
    def test_order(
        self, host: str, ndots: int, search: tuple[str, ...], expected: tuple[str, ...]
    ) -> None:
        assert query_names(host, ResolvConf(search=search, ndots=ndots)) == expected

    def test_a_name_that_the_search_list_makes_too_long_is_left_out(self) -> None:
        host = ".".join(["a" * 60] * 4)
        conf = ResolvConf(search=("corporation.example", "b.example"), ndots=5)
        assert query_names(host, conf) == (f"{host}.b.example.", f"{host}.")

    @given(
        st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=5).map(".".join),
        st.lists(st.sampled_from(["x", "y.z", "a"]), max_size=3).map(tuple),
        st.integers(0, 5),
    )
    def test_the_host_itself_is_always_asked_for_and_nothing_twice(
        self, host: str, search: tuple[str, ...], ndots: int
    ) -> None:
        names = query_names(host, ResolvConf(search=search, ndots=ndots))
        assert f"{host}." in names
        assert len(set(names)) == len(names)
        assert all(name.endswith(".") for name in names)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("::", False),
    ],
)
def test_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_a_name_is_no_loopback_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        is_loopback("localhost")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("10.0.0.1", "10.0.0.1", id="IPv4"),
        pytest.param("2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param("::ffff:10.0.0.1", "10.0.0.1", id="IPv4 in another dress"),
        pytest.param("fe80::1%eth0", "fe80::1", id="a zone says only by which way"),
    ],
)
def test_whom_the_kernel_dials(address: str, expected: str) -> None:
    assert str(whom_kernel_dials(address)) == expected
