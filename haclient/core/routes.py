"""Which target a request goes to: the first route that takes its host and its path.

The naive answer is `path.startswith(prefix)`. It sends "/v10" where "/v1" was meant, and
"/v1/../admin" to whoever may only be asked below "/v1": the path goes on as the client wrote it,
and the server removes the dot-segments. So a prefix is of whole segments, and then:

1. *A path that climbs*, by a ".." in any spelling ("%2e%2e", "..%5c", "..;"), goes only where every
   route of its host leads to the same target. Servers differ too much on what they make of it for
   us to say which prefix it ends up under; and an honest client has removed its dot-segments before
   it sends (RFC 3986, section 6.2.2.3).
2. *A path with needless escapes, empty segments or "."* is read as written, and as a server may:
   decoded, with "/" for a backslash, and without those segments. It goes where both readings lead,
   and nowhere if they differ ("//v1/x", "/%76%31/x").

A route's host is exact or "*.example.org", one label or more in place of the asterisk; letter case,
port and a last dot do not count. Its path "/v1" takes "/v1" and all below it, "/v1/" only what is
below. Paths are compared as bytes are, letter case included.

Left out: routes by method, field or query; patterns within a path; rewriting.
"""

from __future__ import annotations

import re

from haclient.core.config import Route

__all__ = ["Routes", "covers"]

_AMBIGUOUS = re.compile(r"/\.|//|[%\\]")
"""What a path has that can be read in more than one way; nearly none has."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")

_CLIMBS = re.compile(r"[/\\]\.\.(?:[/\\;]|\Z)")
"""Looked for in what was decoded twice, for some servers do so. Java's take "..;x" for ".."."""

_NEEDLESS = re.compile(r"/(?:\.?/)+")

Rules = tuple[tuple[str, str, str], ...]
"""Host pattern, path prefix, target."""


class Routes:
    """The routes of one listener, in the order of the file."""

    __slots__ = ("_decoded", "_fallback", "_goes_by_path", "_rules")

    def __init__(self, routes: tuple[Route, ...], fallback: str | None) -> None:
        """`fallback` is the target for what no route takes; None where there is none."""
        self._fallback = fallback
        rules = [(_host(route.host), route.path, route.target) for route in routes]
        self._rules = tuple(rules)
        self._decoded = tuple((host, _decoded(path), target) for host, path, target in rules)
        self._goes_by_path = any(path != "/" for _, path, _ in rules)

    def __repr__(self) -> str:
        return f"<Routes {len(self._rules)}, else {self._fallback}>"

    def match(self, host: str, target: str) -> str | None:
        """The name of the target; None where no route takes the request.

        Args:
            host: lower case, without port and brackets; may be empty.
            target: the request target in origin-form, or "*", which is the server as a whole.
        """
        if not self._rules:
            return self._fallback
        path = target.partition("?")[0] if target != "*" else "/"
        host = host.removesuffix(".")
        name = self._first(self._rules, host, path)
        if not self._goes_by_path or _AMBIGUOUS.search(path) is None:
            return name
        decoded = _decoded(path)
        if _CLIMBS.search(_decoded(decoded)) is not None:
            return name if self._everywhere(host) <= {name} else None
        read = _NEEDLESS.sub("/", decoded.replace("\\", "/"))
        return name if self._first(self._decoded, host, read) == name else None

    def _everywhere(self, host: str) -> set[str | None]:
        """All that requests of this host may go to."""
        taken: set[str | None] = set()
        for pattern, prefix, target in self._rules:
            if _takes_host(pattern, host):
                taken.add(target)
                if prefix == "/":
                    return taken
        return taken | {self._fallback}

    def _first(self, rules: Rules, host: str, path: str) -> str | None:
        for pattern, prefix, target in rules:
            if _takes_path(prefix, path) and _takes_host(pattern, host):
                return target
        return self._fallback


def covers(earlier: Route, route: Route) -> bool:
    """Whether `earlier` takes every request that `route` would."""
    general, special = _host(earlier.host), _host(route.host)
    # "*.a.test" itself is taken by what takes every name that it stands for: "*.test", never "a.test".
    return _takes_host(general, special) and _takes_path(earlier.path, route.path)


def _host(pattern: str) -> str:
    return pattern.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _takes_host(pattern: str, host: str) -> bool:
    if not pattern or pattern == host:
        return True
    return pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) >= len(pattern)


def _takes_path(prefix: str, path: str) -> bool:
    if not path.startswith(prefix):
        return False
    return prefix.endswith("/") or len(path) == len(prefix) or path[len(prefix)] == "/"


def _decoded(path: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), path)
