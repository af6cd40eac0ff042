"""curl through a forward listener of the real daemon: http_proxy, https_proxy, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import haclient, needs_command
from tests.support.daemon import eventually
from tests.support.forward_place import Place, open_place
from tests.support.forward_proxy import forward_proxy, run
from tests.support.web_server import web_server

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
    line = eventually(lambda: place.proxy.accesses)[-1]
    assert "listener=proxy target=proxy" in line
    assert f"host=files.test:{place.web.port}" in line


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
        ("http://other.example/", 'a rule that allows it is "other.example:80"'),
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
    assert "allowed by no rule of the list" in ran.stderr


def test_what_curl_itself_would_make_of_an_address(place: Place) -> None:
    # It takes 127.1 for 127.0.0.1 before it asks: the canonical form is judged.
    ran = curl(place, "-w", "\n%{http_code}", f"http://127.1:{place.web.port}/file")

    assert ran.stdout.endswith(("\n400", "\n403"))


def test_a_proxy_that_is_asked_for_itself(tmp_path: Path) -> None:
    with forward_proxy(tmp_path, ["127.0.0.0/8:*"]) as proxy:
        words = ["curl", "-q", "-sS", "-m", "20", "-x", proxy.url, "-w", "\n%{http_code}"]
        plain = run([*words, f"{proxy.url}/"])
        tunnel = run([*words, "-v", "--proxytunnel", f"{proxy.url}/"])

    assert plain.stdout.endswith("\n508")
    assert "response 508" in tunnel.stderr
    assert "error=proxy_loop_detected" in tunnel.stderr


def test_users(tmp_path: Path) -> None:
    users = tmp_path / "users"
    assert haclient(["passwd", users, "ann"], stdin=b"s3cret\n").returncode == 0
    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_text("content\n")
    guarded = f'auth = {{ users_file = "{users}" }}\n'
    with web_server(served) as web, forward_proxy(tmp_path, ["127.0.0.1:*"], keys=guarded) as proxy:
        words = ["curl", "-q", "-sS", "-m", "20", "-x", proxy.url, "-w", "\n%{http_code}"]
        url = f"http://127.0.0.1:{web.port}/file"
        assert run([*words, url]).stdout.endswith("\n407")
        assert run([*words, "-U", "ann:wrong", url]).stdout.endswith("\n407")
        assert run([*words, "-U", "ann:s3cret", url]).stdout == "content\n\n200"
        assert run([*words, "-p", "-U", "ann:s3cret", url]).stdout == "content\n\n200"
        refused = run([*words, "-p", url])
        assert "response 407" in refused.stderr
        assert all("proxy-authorization" not in asked.fields for asked in web.asked)
        assert "s3cret" not in proxy.process.log


def test_metrics_count_all_destinations_as_one(place: Place) -> None:
    curl(place, f"http://files.test:{place.web.port}/file")
    curl(place, f"https://secure.test:{place.secure.port}/file")
    admin = place.proxy.process.admin.removeprefix("unix:")
    for _ in range(2):
        told = run(["curl", "-q", "-sS", "--unix-socket", admin, "http://localhost/metrics"]).stdout
        requests = [
            line for line in told.splitlines() if line.startswith("haclient_requests_total{")
        ]
        assert any('outcome="answered",target="proxy"' in sorted_labels(line) for line in requests)
        assert any('outcome="tunnelled",target="proxy"' in sorted_labels(line) for line in requests)
        assert "files.test" not in told
        assert "secure.test" not in told


def sorted_labels(line: str) -> str:
    """Of a metric, `outcome` before `target`, without the others."""
    labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
    return f'outcome="{labels["outcome"]}",target="{labels["target"]}"'


def test_a_reload_forbids_from_then_on(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "file").write_text("content\n")
    with web_server(served) as web, forward_proxy(tmp_path, ["127.0.0.1:*"]) as proxy:
        words = ["curl", "-q", "-sS", "-m", "20", "-x", proxy.url, "-o", "/dev/null"]
        words += ["-w", "%{http_code}", f"http://127.0.0.1:{web.port}/file"]
        assert run(words).stdout == "200"
        listener = f'[listener.proxy]\nmode = "forward"\nbind = "127.0.0.1:{proxy.port}"\n'
        proxy.process.reload(listener + 'allow = ["127.0.0.1:1"]\n')
        assert run(words).stdout == "403"
        # One that has a mistake changes nothing.
        proxy.process.reload(listener + 'allow = ["127.0.0.1"]\n')
        assert run(words).stdout == "403"
        assert 'allow[0] = "127.0.0.1": write "HOST:PORT"' in proxy.process.log.replace("\\", "")
