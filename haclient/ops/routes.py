"""Where the connection goes instead: --resolve, --connect-to, -x and the proxy variables.

The name in the URL stays what it is, in the Host field and for the certificate; only the way there
changes. The variables are curl's, with its one safeguard: http_proxy counts in lower case alone,
for HTTP_PROXY is what a CGI server makes of a request's "Proxy:" field.

Left out: SOCKS and HTTPS proxies, PAC files, --preproxy, ports in no_proxy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

import msgspec

from haclient.core.names import ip_literal
from haclient.core.url import Url, parse_url
from haclient.errors import UrlError
from haclient.ops.command_line import CommandError
from haclient.types import Endpoint, Origin

__all__ = ["ConnectTo", "parse_connect_to", "parse_resolve", "proxy_for", "reroute"]

SETOPT_OPTION_SYNTAX = 49
"""curl's exit code for a --resolve that it cannot read."""

UNSUPPORTED_PROXY, BAD_PROXY = 7, 5
"""curl's exit codes for a proxy's scheme and for its syntax."""

DEFAULT_PROXY_PORT = 1080
"""curl's, where the proxy's URL has none."""

_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]*)")
_TWO_OF_THEM = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]*):(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")


def parse_resolve(texts: Sequence[str]) -> dict[tuple[str, int], tuple[Endpoint, ...]]:
    """Reads --resolve HOST:PORT:ADDRESS[,ADDRESS]; "*" is every host, "-HOST:PORT" takes one back.

    Raises:
        CommandError: one cannot be read (49).
    """
    entries: dict[tuple[str, int], tuple[Endpoint, ...]] = {}
    for text in texts:
        match = _HOST_AND_PORT.match(text.lstrip("+-"))
        port = _port(match[2]) if match else None
        if match is None or port is None:
            raise _unreadable("--resolve", text, "HOST:PORT:ADDRESS, as api.test:443:127.0.0.1")
        key = (match[1].strip("[]").lower(), port)
        if text.startswith("-"):
            entries.pop(key, None)
            continue
        rest = text.lstrip("+")[match.end() :]
        addresses = [ip_literal(each.strip("[]")) for each in rest.removeprefix(":").split(",")]
        if not rest.startswith(":") or None in addresses:
            raise _unreadable("--resolve", text, "IP addresses after the port, joined by commas")
        entries[key] = tuple(Endpoint(each, port) for each in addresses if each is not None)
    return entries


class ConnectTo(msgspec.Struct, frozen=True):
    """One --connect-to: an empty host and port None stand for any, or for the same again."""

    host: str
    port: int | None
    to_host: str
    to_port: int | None


def parse_connect_to(texts: Sequence[str]) -> tuple[ConnectTo, ...]:
    """Reads --connect-to HOST1:PORT1:HOST2:PORT2, any of which may be empty.

    Raises:
        CommandError: one cannot be read (49).
    """
    found: list[ConnectTo] = []
    for text in texts:
        match = _TWO_OF_THEM.fullmatch(text)
        if match is None or any(p and _port(p) is None for p in (match[2], match[4])):
            raise _unreadable("--connect-to", text, "HOST1:PORT1:HOST2:PORT2")
        host, port, to_host, to_port = (part or "" for part in match.groups())
        found.append(
            ConnectTo(host.strip("[]").lower(), _port(port), to_host.strip("[]"), _port(to_port))
        )
    return tuple(found)


def reroute(origin: Origin, rules: Sequence[ConnectTo]) -> tuple[str, int]:
    """Returns the host and port to connect to for `origin`: the first rule that fits counts."""
    for rule in rules:
        if rule.host in {"", origin.host} and rule.port in {None, origin.port}:
            return rule.to_host or origin.host, rule.to_port or origin.port
    return origin.host, origin.port


def _port(text: str) -> int | None:
    number = int(text) if text.isdigit() and len(text) <= 5 else 0
    return number if 0 < number <= 65535 else None


def _unreadable(option: str, text: str, remedy: str) -> CommandError:
    return CommandError(f"{option} {text!r} cannot be read: write {remedy}", SETOPT_OPTION_SYNTAX)


# --- the proxy -----------------------------------------------------------------------------------


def proxy_for(
    url: Url, option: str | None, noproxy: str | None, environ: Mapping[str, str]
) -> Url | None:
    """Returns the proxy to ask for `url`; None is none.

    Args:
        url: the request's.
        option: of -x; empty is no proxy, whatever the environment says.
        noproxy: of --noproxy; takes the place of the variable.
        environ: the environment.

    Raises:
        CommandError: the proxy's URL is malformed (5), or of an unsupported kind (7).
    """
    text, source = option, "-x"
    if text is None:
        text, source = _from_environment(url.origin.scheme, environ)
    if noproxy is None:
        noproxy = environ.get("no_proxy") or environ.get("NO_PROXY", "")
    if not text or _is_exempt(url.origin.host, noproxy):
        return None
    return _parse_proxy(text, source)


def _from_environment(scheme: str, environ: Mapping[str, str]) -> tuple[str, str]:
    names = [f"{scheme}_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    if scheme == "http":
        names.remove("HTTPS_PROXY")
    for name in names:
        if environ.get(name):
            return environ[name], name
    return "", ""


def _parse_proxy(text: str, source: str) -> Url:
    scheme, colon, rest = text.partition("://")
    if colon and scheme.lower() != "http":
        raise CommandError(
            f"{source}: a proxy of the kind {scheme!r} is not supported: use an http:// proxy",
            UNSUPPORTED_PROXY,
        )
    try:
        proxy = parse_url("http://" + (rest if colon else text))
    except UrlError as error:
        raise CommandError(f"{source}: {error}", BAD_PROXY) from None
    authority = re.split(r"[/?#]", rest if colon else text, maxsplit=1)[0].rpartition("@")[2]
    if re.search(r":[0-9]+\Z", authority):
        return proxy
    return Url(Origin("http", proxy.origin.host, DEFAULT_PROXY_PORT), "/", proxy.userinfo)


def _is_exempt(host: str, noproxy: str) -> bool:
    """Whether no_proxy names the host: itself, a domain above it, or a network that it is in."""
    if noproxy.strip() == "*":
        return True
    literal = ip_literal(host)
    host = host.removesuffix(".")
    for entry in re.split(r"[\s,]+", noproxy.lower()):
        entry = entry.strip("[]")
        if literal is not None:
            if _is_within(literal, entry):
                return True
            continue
        domain = entry.removeprefix(".").removesuffix(".")
        if domain and (host == domain or host.endswith(f".{domain}")):
            return True
    return False


def _is_within(literal: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(literal) in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False
