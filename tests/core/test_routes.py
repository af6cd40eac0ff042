"""Routes: what takes a request, what only seems to, and which routes are never reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.config import Route
from haclient.core.routes import Routes, covers


def routed(*rules: str, fallback: str | None = "else") -> Routes:
    """Each rule is "HOST PATH TARGET", with "-" for any host."""
    words = [rule.split() for rule in rules]
    return Routes(
        tuple(Route(target, "" if host == "-" else host, path) for host, path, target in words),
        fallback,
    )


def test_the_fallback() -> None:
    assert routed().match("a.test", "/../%2e%2e//x") == "else"
    assert routed(fallback=None).match("a.test", "/") is None
    assert routed("- /v1 one", fallback=None).match("a.test", "/v2") is None
    assert repr(routed("- /v1 one")) == "<Routes 1, else else>"


@pytest.mark.parametrize(
    ("pattern", "host", "takes"),
    [
        ("a.test", "a.test", True),
        ("A.Test.", "a.test", True),
        ("a.test", "a.test.", True),
        ("a.test", "b.a.test", False),
        ("a.test", "", False),
        ("*.a.test", "b.a.test", True),
        ("*.a.test", "c.b.a.test", True),
        ("*.a.test", "a.test", False),
        ("*.a.test", ".a.test", False),
        ("*.a.test", "ba.test", False),
        ("*.a.test", "bba.test", False),
        ("[::1]", "::1", True),
        ("::1", "::1", True),
        ("-", "", True),
    ],
)
def test_hosts(pattern: str, host: str, takes: bool) -> None:
    assert (routed(f"{pattern} / one").match(host, "/x") == "one") is takes


@pytest.mark.parametrize(
    ("prefix", "target", "takes"),
    [
        ("/v1", "/v1", True),
        ("/v1", "/v1/", True),
        ("/v1", "/v1/x", True),
        ("/v1", "/v1?x", True),
        ("/v1", "/v10", False),
        ("/v1", "/V1", False),
        ("/v1", "/", False),
        ("/v1", "/x?/v1", False),
        ("/v1/", "/v1", False),
        ("/v1/", "/v1/", True),
        ("/v1/", "/v1/x", True),
        ("/", "/", True),
        ("/", "*", True),
        ("/v1", "*", False),
        ("/v1", "/v1/a%20b%2Fc//d", True),
        ("/v1", "/v1/a.b/.well-known/..x/x..", True),
        ("/v1", "/v1/./x", True),
        ("/v1", "/v1/x/..y/z..", True),
        ("/a%20b", "/a%20b/c", True),
        ("/a%20b", "/a%20c", False),
    ],
)
def test_paths(prefix: str, target: str, takes: bool) -> None:
    assert (routed(f"- {prefix} one").match("a.test", target) == "one") is takes


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../admin",
        "/v1/..",
        "/v1/../",
        "/v1/..?x",
        "/v1/%2e%2e/admin",
        "/v1/.%2E/admin",
        "/v1/%2e./admin",
        "/v1/..%2fadmin",
        "/v1/..\\admin",
        "/v1/..%5cadmin",
        "/v1/x/../../admin",
        "/v1//../admin",
        "/v1/./../admin",
        "/v1/.//../admin",
        "/v1/a%2fb/../../admin",
        "/v1/..;x/admin",
        "/v1/%252e%252e/admin",
        "/x/../v1/y",
        "/x//../v1/y",
        "/v1/../x//../v1/y",
        "//v1/x",
        "/./v1/x",
        "/%76%31/x",
        "/v1%2fx",
    ],
)
def test_a_path_that_servers_read_differently_goes_nowhere(target: str) -> None:
    assert routed("- /v1 one").match("a.test", target) is None


def test_such_a_path_goes_on_where_it_makes_no_difference() -> None:
    routes = routed("a.test /v1 one", "b.test /v1 two", "b.test / two")
    assert routes.match("a.test", "/v1/../admin") is None
    assert routes.match("b.test", "/v1/../admin") == "two"
    same = routed("a.test /v1 one", fallback="one")
    assert same.match("a.test", "/v1/../admin") == "one"
    hosts = routed("a.test / one")
    assert hosts.match("a.test", "/v1/../admin") == "one"


def test_the_first_one_decides() -> None:
    routes = routed("a.test /v1 one", "- /v1/x two", "a.test / three")
    assert routes.match("a.test", "/v1/x") == "one"
    assert routes.match("b.test", "/v1/x") == "two"
    assert routes.match("a.test", "/v2") == "three"
    assert routes.match("b.test", "/v1") == "else"


@given(
    segments=st.lists(
        st.sampled_from(
            ["..", ".", "", "v1", "x", "%2e%2e", "..%2f", "%2E", "\\", "..\\..", "a%2f"]
        ),
        max_size=7,
    ),
    decodes=st.sets(st.sampled_from([("%2e", "."), ("%2E", "."), ("%2f", "/"), ("\\", "/")])),
    merges=st.booleans(),
)
def test_no_path_leaves_its_prefix(
    segments: list[str], decodes: set[tuple[str, str]], merges: bool
) -> None:
    """However a server reads it, what went to /v1 is below /v1."""
    path = "/v1/" + "/".join(segments)
    if routed("- /v1 one", fallback=None).match("a.test", path) != "one":
        return
    for escape, character in decodes:
        path = path.replace(escape, character)
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != "." and not (merges and not segment):
            kept.append(segment)
    assert kept[:1] == ["v1"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(["- /v1 a", "- /v2 b"], [], id="none"),
        pytest.param(["- / a", "x.test /v1 b"], [(1, 0)], id="by one that takes all"),
        pytest.param(["- /v1 a", "- /v1/x b", "- /v1/ c"], [(1, 0), (2, 0)], id="by a prefix"),
        pytest.param(["- /v1/ a", "- /v1 b"], [], id="the general one is last"),
        pytest.param(["- /v1/ a", "- /v1/ b"], [(1, 0)], id="the same"),
        pytest.param(["x.test / a", "- / b"], [], id="one host, then all"),
        pytest.param(["*.test / a", "x.test / b", "*.x.test / c"], [(1, 0), (2, 0)], id="wildcard"),
        pytest.param(["x.test / a", "*.test / b"], [], id="a name does not hide a wildcard"),
        pytest.param(["x.y.test / a", "*.y.test / b"], [], id="nor does one of its names"),
        pytest.param(["*.test / a", "test / b"], [], id="a wildcard needs a label"),
        pytest.param(["X.Test / a", "x.test. / b"], [(1, 0)], id="letter case and dot"),
    ],
)
def test_routes_that_an_earlier_one_covers(
    rules: list[str], expected: list[tuple[int, int]]
) -> None:
    words = [rule.split() for rule in rules]
    routes = [Route(target, "" if host == "-" else host, path) for host, path, target in words]
    covered = [(i, j) for i in range(len(routes)) for j in range(i) if covers(routes[j], routes[i])]
    assert covered == expected
