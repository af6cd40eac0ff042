"""From the options to what a client is made of: its settings, its resolver, its observers.

What an option asks for is imported when it is given: most requests have none of these.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from typing import TextIO

import msgspec

from haclient import events
from haclient.client import Settings
from haclient.core.spec import RESPONSE_TIMEOUT, Target, TlsSettings
from haclient.core.url import Url
from haclient.net import Resolver
from haclient.net.resolver import SystemResolver
from haclient.ops.command_line import CommandError
from haclient.ops.exit_codes import ExitCode
from haclient.ops.options import RequestOptions
from haclient.ops.routes import parse_connect_to, parse_resolve
from haclient.types import Order

__all__ = ["configured_target", "readers", "resolver", "settings", "target_with_backups"]


def readers(options: RequestOptions, stack: ExitStack) -> list[events.Observer]:
    """Who is told what happens, besides the meter."""
    readers: list[events.Observer] = []
    if options.verbose:
        from haclient.ops.verbose import Verbose

        readers.append(Verbose(sys.stderr))
    if options.trace:
        from haclient.ops.style import Style
        from haclient.ops.trace import Timeline

        readers.append(Timeline(sys.stderr, Style.of(sys.stderr, os.environ)))
    if options.trace_json is not None:
        from haclient.ops.trace_json import JsonLines

        readers.append(JsonLines(_trace_file(options.trace_json, stack)))
    return readers


def _trace_file(path: str, stack: ExitStack) -> TextIO:
    if path == "-":
        return sys.stderr
    try:
        stream = open(path, "w", encoding="utf-8")  # noqa: SIM115  (closed by the stack)
    except OSError as exc:
        raise CommandError(
            f"--trace-json: the file {path!r} cannot be written: {exc.strerror}; name another one",
            ExitCode.WRITE_ERROR,
        ) from None
    stack.callback(_close_quietly, stream)
    return stream


def _close_quietly(stream: TextIO) -> None:
    """What is still in a full disk's buffer must not harm an answer that is whole."""
    with suppress(OSError):
        stream.close()


def settings(options: RequestOptions) -> Settings:
    """What the options say of a target, and nothing that they do not."""
    said = Settings()
    if options.insecure or options.cacert or options.cert or options.key:
        said["tls"] = TlsSettings(
            ca_file=options.cacert,
            cert_file=options.cert,
            key_file=options.key,
            verify=not options.insecure,
        )
    if options.window is not None:
        said["window"] = options.window
    if options.order is not None:
        said["order"] = Order(options.order)
    if options.connect_timeout is not None:
        said["connect_timeout"] = options.connect_timeout
    if options.retry is not None:
        said["max_attempts"] = 1 + options.retry
    if options.max_time is not None:
        # Whoever says how long he would wait means it: the back-stop is not to come before.
        said["response_timeout"] = max(options.max_time, RESPONSE_TIMEOUT)
    return said


def configured_target(options: RequestOptions) -> Target | None:
    """--target: the daemon's own settings for it, but for what the options say."""
    if options.target is None:
        return None
    from haclient.ops.options import DEFAULT_CONFIG
    from haclient.ops.settings import read_target

    target = read_target(options.config or DEFAULT_CONFIG, options.target)
    return msgspec.structs.replace(target, **settings(options))


def _nameservers(options: RequestOptions) -> tuple[str, ...] | None:
    if options.target is None:
        return None
    from haclient.ops.options import DEFAULT_CONFIG
    from haclient.ops.settings import read_nameservers

    return read_nameservers(options.config or DEFAULT_CONFIG)


def target_with_backups(url: Url, options: RequestOptions) -> Target | None:
    """--backup: the target whose first choice is the URL's own origin."""
    if not options.backups:
        return None
    return Target(urls=(Url(url.origin, "/"),), backups=options.backups, **settings(options))


def resolver(options: RequestOptions) -> Resolver:
    """Who answers names: the machine, or whom the target's file names; but for what the options say of one."""
    found: Resolver = SystemResolver(nameservers=_nameservers(options))
    if options.resolve:
        from haclient.net.static_resolver import StaticResolver

        found = StaticResolver(parse_resolve(options.resolve), found)
    if options.connect_to or options.unix_socket or options.ipv4 or options.ipv6:
        from haclient.ops.rerouting import Rerouting

        found = Rerouting(
            found,
            parse_connect_to(options.connect_to),
            # A relative one would be taken for an address.
            unix_socket=os.path.abspath(options.unix_socket) if options.unix_socket else None,
            is_ipv4_only=options.ipv4,
            is_ipv6_only=options.ipv6,
        )
    return found
