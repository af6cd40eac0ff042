"""httpbin's own tests, sent over HTTP to a server instead of into the application.

    python -m tests.support.httpbin_suite test_httpbin.py http://127.0.0.1:8080

The suite talks to a WSGI test client; here the application that this client is given is a bridge,
which sends each request over one persistent connection and gives back what came. The tests stay
as they are, byte for byte. Prints one JSON object: for each test "ok", or how it failed.

Left out: a field without a name, which a WSGI environment can hold and HTTP cannot say.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import unittest
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpbin  # type: ignore[import-untyped]
from werkzeug.test import Client

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["results"]

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
"""Of this connection; what is given on is whole."""


class Bridge:
    """A WSGI application whose work is done by a server elsewhere."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """One request."""
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        connection = self._connection
        target = environ["REQUEST_URI"]
        connection.putrequest(
            environ["REQUEST_METHOD"], target, skip_host=True, skip_accept_encoding=True
        )
        fields = fields_of(environ)
        for name, value in fields:
            connection.putheader(name, value)
        if ("Transfer-Encoding", "chunked") in fields:
            connection.endheaders([content], encode_chunked=True)
        else:
            connection.endheaders(content)
        with connection.getresponse() as response:
            body = response.read()
        kept = [(k, v) for k, v in response.getheaders() if k.lower() not in HOP_BY_HOP]
        start(f"{response.status} {response.reason}", kept)
        return [body]

    def close(self) -> None:
        """The connection's end."""
        self._connection.close()


def fields_of(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """The header section that a WSGI environment stands for (PEP 3333)."""
    named = {
        key.removeprefix("HTTP_").replace("_", "-").title(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            named[key.replace("_", "-").title()] = environ[key]
    if named.get("Transfer-Encoding") == "chunked":
        named.pop("Content-Length", None)
    return [(name, value) for name, value in named.items() if name]


class Outcomes(unittest.TestResult):
    """Each test's last line, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.by_name[name_of(test)] = "ok"

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.by_name[name_of(test)] = f"{err[0].__name__}: {err[1]}"

    addError = addFailure


def name_of(test: unittest.TestCase) -> str:
    """Without its module."""
    return test.id().rpartition(".")[2]


def results(suite: Path, url: str) -> dict[str, str]:
    """Runs the suite against a server."""
    spec = importlib.util.spec_from_file_location("test_httpbin", suite)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    bridge = Bridge(url)
    outcomes = Outcomes()
    # The one thing that is put in place of another: where the suite gets its client from.
    httpbin.app.test_client = lambda: Client(bridge)
    unittest.defaultTestLoader.loadTestsFromModule(module).run(outcomes)
    bridge.close()
    return outcomes.by_name


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.httpbin_suite")
    parser.add_argument("suite", type=Path)
    parser.add_argument("url")
    args = parser.parse_args()
    print(json.dumps(results(args.suite, args.url), indent=1))


if __name__ == "__main__":
    main()
