"""curl through a forward listener of the real daemon: http_proxy, https_proxy, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.command import needs_command
from tests.support.forward_place import Place, open_place

CURL = shutil.which("curl")

pytestmark = [
    needs_command,
    pytest.mark.skipif(CURL is None, reason="curl is not installed"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(tmp_path_factory.mktemp("forward")) as opened:
        yield opened


def curl(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    return place.run(["curl", "-q", "-sS", "-m", "20", "--cacert", place.ca, *words])


def test_http_proxy(place: Place) -> None:
    ran = curl(place, f"http://files.test:{place.web.port}/file")

    assert (ran.stdout, ran.stderr) == ("content\n", "")
    asked = place.web.asked[-1]
    assert (asked.path, asked.fields["host"]) == ("/file", f"files.test:{place.web.port}")
    assert asked.fields["via"] == "1.1 haclient"
    assert not {name for name in asked.fields if name.startswith("proxy-")}
    assert "listener=proxy target=proxy" in place.proxy.accesses[-1]
    assert f"host=files.test:{place.web.port}" in place.proxy.accesses[-1]


def test_https_proxy(place: Place) -> None:
    ran = curl(place, f"https://secure.test:{place.secure.port}/file")

    assert (ran.stdout, ran.stderr) == ("content\n", "")
    assert "via" not in place.secure.asked[-1].fields


def test_a_tunnel_for_plain_http(place: Place) -> None:
    ran = curl(place, "--proxytunnel", f"http://files.test:{place.web.port}/file")

    assert (ran.stdout, ran.stderr) == ("content\n", "")
    assert "via" not in place.web.asked[-1].fields


def test_several_requests_on_one_connection(place: Place) -> None:
    url = f"http://files.test:{place.web.port}/file"
    ran = curl(place, "-w", "%{num_connects}\n", *[url] * 3)

    assert ran.stdout == "content\n1\ncontent\n0\ncontent\n0\n"


def test_the_address_of_two_that_answers(place: Place) -> None:
    assert curl(place, f"http://twice.test:{place.web.port}/file").stdout == "content\n"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://inside.test:{port}/", "127.0.0.1 (of inside.test) is a loopback address"),
        (
            "http://metadata.test/",
            "169.254.169.254 (of metadata.test) is a cloud's metadata address",
        ),
        ("http://127.0.0.2:{port}/", '"127.0.0.2:1-79" is for other ports'),
        ("http://other.example/", 'other.example:80 is not in allow = ["files.test:*"'),
    ],
)
def test_what_is_forbidden(place: Place, url: str, words: str) -> None:
    asked = len(place.web.asked)
    ran = curl(place, "-w", "\n%{http_code}", url.format(port=place.web.port))

    content, _, status = ran.stdout.rpartition("\n")
    assert status == "403"
    assert words in json.loads(content)["detail"]
    assert len(place.web.asked) == asked


def test_a_forbidden_tunnel_says_so(place: Place) -> None:
    ran = curl(place, "-v", "https://other.example/")

    assert ran.returncode == 56
    assert "CONNECT tunnel failed, response 403" in ran.stderr
    assert "error=http_request_denied" in ran.stderr
    assert "not in allow" in ran.stderr


def test_what_curl_itself_would_make_of_an_address(place: Place) -> None:
    # It takes 127.1 for 127.0.0.1 before it asks: the canonical form is judged.
    ran = curl(place, "-w", "\n%{http_code}", f"http://127.1:{place.web.port}/file")

    assert ran.stdout.endswith(("\n400", "\n403"))
