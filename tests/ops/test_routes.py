"""--resolve, --connect-to, proxies: what they mean, and when a proxy is not asked."""

from __future__ import annotations

import pytest

from haclient.core.url import parse_url
from haclient.ops.command_line import CommandError
from haclient.ops.routes import ConnectTo, parse_connect_to, parse_resolve, proxy_for, reroute
from haclient.types import Endpoint, Origin
from tests.support.recorder import curl, needs_curl, recording


def test_resolve() -> None:
    assert parse_resolve(
        [
            "H.test:80:127.0.0.1",
            "+h6.test:443:[::1],10.0.0.1",
            "*:81:10.0.0.2",
            "[::2]:80:::3",
            "x.test:1:1.1.1.1",
            "-x.test:1",
        ]
    ) == {
        ("h.test", 80): (Endpoint("127.0.0.1", 80),),
        ("h6.test", 443): (Endpoint("::1", 443), Endpoint("10.0.0.1", 443)),
        ("*", 81): (Endpoint("10.0.0.2", 81),),
        ("::2", 80): (Endpoint("::3", 80),),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h.test",
        "h.test:80",
        "h.test:80:",
        "h.test:80:name",
        "h.test:x:10.0.0.1",
        "h.test:0:10.0.0.1",
        "h.test:80:10.0.0.1,",
    ],
)
def test_what_is_no_resolve(text: str) -> None:
    with pytest.raises(CommandError, match=r"--resolve .* cannot be read: write") as caught:
        parse_resolve([text])

    assert caught.value.exit_code == 49


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("h.test:80:o.test:8080", ("o.test", 8080)),
        ("H.TEST:80:o.test:8080", ("o.test", 8080)),
        ("::o.test:8080", ("o.test", 8080)),
        ("h.test:80:o.test", ("o.test", 80)),
        ("h.test:80:o.test:", ("o.test", 80)),
        ("h.test:80::8080", ("h.test", 8080)),
        ("h.test::[::1]:8080", ("::1", 8080)),
        ("h.test:81:o.test:8080", ("h.test", 80)),
        ("x.test:80:o.test:8080", ("h.test", 80)),
    ],
)
def test_connect_to(rule: str, expected: tuple[str, int]) -> None:
    assert reroute(Origin("http", "h.test", 80), parse_connect_to([rule])) == expected


def test_the_first_rule_that_fits_counts() -> None:
    rules = parse_connect_to(["x.test:80:a.test:1", "h.test:80:b.test:2", "::c.test:3"])

    assert rules[2] == ConnectTo("", None, "c.test", 3)
    assert reroute(Origin("http", "h.test", 80), rules) == ("b.test", 2)
    assert reroute(Origin("http", "h.test", 80), ()) == ("h.test", 80)


@pytest.mark.parametrize(
    "text", ["", "h", "h:80", "h:x:o:80", "h:80:o:99999", "h:80:o:80:x", "::1:80:o:80"]
)
def test_what_is_no_connect_to(text: str) -> None:
    with pytest.raises(CommandError, match=r"--connect-to .* cannot be read") as caught:
        parse_connect_to([text])

    assert caught.value.exit_code == 49


ENVIRONMENTS: list[tuple[dict[str, str], str, str | None]] = [
    ({}, "http://h.test/", None),
    ({"http_proxy": "p.test:1"}, "http://h.test/", "http://p.test:1/"),
    ({"http_proxy": "p.test:1"}, "https://h.test/", None),
    ({"HTTP_PROXY": "p.test:1"}, "http://h.test/", None),
    ({"https_proxy": "p.test:1"}, "https://h.test/", "http://p.test:1/"),
    ({"HTTPS_PROXY": "p.test:1"}, "https://h.test/", "http://p.test:1/"),
    ({"HTTPS_PROXY": "p.test:1"}, "http://h.test/", None),
    ({"ALL_PROXY": "p.test:1"}, "http://h.test/", "http://p.test:1/"),
    ({"http_proxy": "", "all_proxy": "p.test:1"}, "http://h.test/", "http://p.test:1/"),
    ({"http_proxy": "p.test:1", "all_proxy": "q.test:2"}, "http://h.test/", "http://p.test:1/"),
    ({"http_proxy": "p.test:1", "no_proxy": "h.test"}, "http://h.test/", None),
    ({"http_proxy": "p.test:1", "NO_PROXY": "h.test"}, "http://h.test/", None),
    ({"http_proxy": "p.test:1", "no_proxy": "", "NO_PROXY": "h.test"}, "http://h.test/", None),
]


@pytest.mark.parametrize(("environ", "url", "expected"), ENVIRONMENTS)
def test_the_environment(environ: dict[str, str], url: str, expected: str | None) -> None:
    found = proxy_for(parse_url(url), None, None, environ)

    assert (None if found is None else str(found)) == expected


def test_options_come_before_the_environment() -> None:
    url = parse_url("http://h.test/")
    environ = {"http_proxy": "p.test:1", "no_proxy": "h.test"}

    assert proxy_for(url, "", None, {"http_proxy": "p.test:1"}) is None
    assert proxy_for(url, "q.test:2", None, {}) == parse_url("http://q.test:2/")
    assert proxy_for(url, None, "", environ) == parse_url("http://p.test:1/")
    assert proxy_for(url, "q.test:2", "h.test", {}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p.test", "http://p.test:1080/"),
        ("http://p.test/", "http://p.test:1080/"),
        ("http://p.test:80/", "http://p.test/"),
        ("HTTP://p.test:3128", "http://p.test:3128/"),
        ("u:p@p.test", "http://u:p@p.test:1080/"),
        ("http://u:80@p.test", "http://u:80@p.test:1080/"),
        ("[::1]:3128", "http://[::1]:3128/"),
        ("[::1]", "http://[::1]:1080/"),
    ],
)
def test_a_proxys_url(text: str, expected: str) -> None:
    assert str(proxy_for(parse_url("http://h.test/"), text, None, {})) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [("socks5://p.test", 7), ("https://p.test", 7), ("p.test:99999", 5), ("a b", 5)],
)
def test_what_is_no_proxy(text: str, code: int) -> None:
    with pytest.raises(CommandError, match=r"^http_proxy: ") as caught:
        proxy_for(parse_url("http://h.test/"), None, None, {"http_proxy": text})

    assert caught.value.exit_code == code


EXEMPT = [
    ("h.test", "h.test", True),
    ("x.h.test", "h.test", True),
    ("x.h.test", ".h.test", True),
    ("h.test", ".h.test", True),
    ("xh.test", "h.test", False),
    ("h.test", "o.test,h.test", True),
    ("h.test", "o.test h.test", True),
    ("h.test", "*", True),
    ("h.test", "*,o.test", False),
    ("h.test", "*.test", False),
    ("h.test", "H.TEST", True),
    ("h.test", "h.test.", True),
    ("h.test.", "h.test", True),
    ("h.test", "h.test:80", False),
    ("h.test", "", False),
    ("127.0.0.9", "127.0.0.0/8", True),
    ("127.0.0.9", "127.0.0.9", True),
    ("127.0.0.9", "127.", False),
    ("127.0.0.9", "0.0.9", False),
    ("127.0.0.9", "10.0.0.0/8", False),
    ("[::1]", "::1", True),
]


@pytest.mark.parametrize(("host", "noproxy", "is_exempt"), EXEMPT)
def test_no_proxy(host: str, noproxy: str, is_exempt: bool) -> None:
    url = parse_url(f"http://{host}/")

    assert (proxy_for(url, "p.test:1", noproxy, {}) is None) is is_exempt


@needs_curl
@pytest.mark.parametrize(("host", "noproxy", "is_exempt"), EXEMPT)
def test_no_proxy_is_curls(host: str, noproxy: str, is_exempt: bool) -> None:
    # Where the proxy is not asked, port 1 of this machine is, and refuses.
    with recording() as recorder:
        curl(
            [
                "-x",
                recorder.url,
                "--noproxy",
                noproxy,
                "--connect-to",
                "::127.0.0.1:1",
                f"http://{host}/",
            ]
        )

    assert (not recorder.requests) is is_exempt
