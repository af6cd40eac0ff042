"""`haclient request`: one highly available request, with curl's options.

Nothing is decided here: the options become requests (request_plan), the engine answers them
(haclient.client), and this puts both together and writes what there is to write.
"""

from __future__ import annotations

import functools
import getpass
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TextIO

import trio

from haclient import events
from haclient.client import Client, Settings
from haclient.core.spec import RESPONSE_TIMEOUT, Target, TlsSettings
from haclient.net import Resolver
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.ops.command_line import CommandError
from haclient.ops.cookies import open_jar, save_jar, wall_clock
from haclient.ops.exit_codes import ExitCode
from haclient.ops.options import RequestOptions, parse_options
from haclient.ops.request_plan import read_intent
from haclient.ops.rerouting import Rerouting
from haclient.ops.routes import parse_connect_to, parse_resolve, proxy_for
from haclient.ops.style import Style
from haclient.ops.trace import Timeline
from haclient.ops.trace_json import JsonLines
from haclient.ops.transfer import Meter, Transferring, target_for
from haclient.ops.verbose import Verbose
from haclient.ops.write_out import Stream, Transfer, read_format, render
from haclient.types import Order

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Carries out every URL of the command line; returns the last one's exit code."""
    options = parse_options(argv)
    with ExitStack() as stack:
        return trio.run(_run, options, stack, restrict_keyboard_interrupt_to_checkpoints=True)


async def _run(options: RequestOptions, stack: ExitStack) -> int:
    meter = Meter()
    observers: list[events.Observer] = [meter]
    if options.verbose:
        observers.append(Verbose(sys.stderr))
    if options.trace:
        observers.append(Timeline(sys.stderr, Style.of(sys.stderr, os.environ)))
    if options.trace_json is not None:
        observers.append(JsonLines(_open_trace(options.trace_json, stack)))

    def observe(event: events.Event) -> None:
        for each in observers:
            each(event)

    client = Client(
        observe=observe,
        proxy=lambda url: proxy_for(url, options.proxy, options.noproxy, os.environ),
        resolver=_resolver(options),
        **_settings(options),
    )
    code = 0
    async with client:
        for number in range(len(options.urls)):
            meter.__init__()  # type: ignore[misc]
            code = await _one(client, options, meter, number)
    return code


async def _one(client: Client, options: RequestOptions, meter: Meter, number: int) -> int:
    """One URL: from the words to what is written."""
    configured = _configured_target(options)
    base = configured.urls[0] if configured is not None else None
    intent, url = read_intent(
        options, number, base=base, read_stdin=_read_stdin, ask_password=_ask_password
    )
    settings: Callable[..., Target] = functools.partial(Target, **_settings(options))
    target = configured or target_for(url, options, settings)
    jar = open_jar(options.cookies, options.cookie_jar, url, wall_clock(), _read_stdin)
    path: str | None = None
    if number < len(options.outputs):
        path = options.outputs[number] if options.outputs[number] is not None else ""
    transfer = Transferring(client, options, target, meter, jar, number)
    result = await transfer.run(intent, url, path)
    if result.exit_code and (options.show_error or not options.silent):
        sys.stderr.write(f"haclient: ({result.exit_code}) {result.error_message}\n")
    if jar is not None and options.cookie_jar is not None:
        _save(options.cookie_jar, jar.dump(wall_clock()))
    if options.write_out is not None:
        _write_out(read_format(options.write_out, _read_stdin), result)
    return result.exit_code


def _settings(options: RequestOptions) -> Settings:
    """What the options say of the target."""
    settings = Settings(
        tls=TlsSettings(
            ca_file=options.cacert,
            cert_file=options.cert,
            key_file=options.key,
            verify=not options.insecure,
        )
    )
    if options.window is not None:
        settings["window"] = options.window
    if options.order is not None:
        settings["order"] = Order(options.order)
    if options.connect_timeout is not None:
        settings["connect_timeout"] = options.connect_timeout
    if options.retry is not None:
        settings["max_attempts"] = 1 + options.retry
    if options.max_time is not None:
        # Whoever says how long he would wait means it: the back-stop is not to come before.
        settings["response_timeout"] = max(options.max_time, RESPONSE_TIMEOUT)
    return settings


def _configured_target(options: RequestOptions) -> Target | None:
    """--target: the daemon's own settings for it."""
    if options.target is None:
        return None
    from haclient.ops.settings import read_target

    return read_target(options.config or "/etc/haclient/haclient.toml", options.target)


def _resolver(options: RequestOptions) -> Resolver:
    resolver: Resolver = SystemResolver()
    if options.resolve:
        resolver = StaticResolver(parse_resolve(options.resolve), resolver)
    if options.connect_to or options.unix_socket or options.ipv4 or options.ipv6:
        resolver = Rerouting(
            resolver,
            parse_connect_to(options.connect_to),
            unix_socket=options.unix_socket,
            is_ipv4_only=options.ipv4,
            is_ipv6_only=options.ipv6,
        )
    return resolver


def _open_trace(path: str, stack: ExitStack) -> TextIO:
    if path == "-":
        return sys.stderr
    try:
        return stack.enter_context(open(path, "w", encoding="utf-8"))
    except OSError as exc:
        raise CommandError(
            f"--trace-json: the file {path!r} cannot be written: {exc.strerror}",
            ExitCode.WRITE_ERROR,
        ) from None


@functools.cache
def _read_stdin() -> bytes:
    """All of stdin; read once, however often it is named."""
    return sys.stdin.buffer.read()


def _ask_password(user: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError(f"-u {user}: no password; write USER:PASSWORD")
    return getpass.getpass(f"Password of {user}: ")


def _save(path: str, text: str) -> None:
    try:
        if path == "-":
            sys.stdout.write(text)
        else:
            save_jar(path, text)
    except OSError as exc:
        # As curl: a warning, for the answer is there.
        sys.stderr.write(f"haclient: -c: the cookies cannot be saved in {path!r}: {exc.strerror}\n")


def _write_out(template: str, result: Transfer) -> None:
    for piece in render(template, result):
        stream = sys.stdout if piece.stream is Stream.STDOUT else sys.stderr
        with suppress(UnicodeEncodeError):
            stream.write(piece.text)
        stream.flush()
