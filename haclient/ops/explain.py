"""`haclient explain URL`, or `-c FILE TARGET`: what a request to this URL would do, without sending one.

"Would it fail over, and how fast?" is asked before an outage, and the answer depends on things that
nobody has in mind at once: how many addresses the name has today, whether they can be reached from
here, whether each shows a certificate for the name, what the window adds up to, and whether the
method may be sent twice at all. Here each of them is put to the part of haclient that decides it:

    addresses    the resolver, with source and TTL
    race         a connect to every address, for https up to the handshake; no request is sent
    plan         core.keepalive, with the round trip that was measured
    resend       core.retry, for each method

The exit code is that of the request that was not sent: 0, or curl's for a name that is not resolved
(6), for no connection (7, 28), TLS (35) and certificate (60); 78 for a window that cannot be kept.

Left out: a proxy of the environment (a line says so), and whether the application answers.
"""

from __future__ import annotations

import argparse
import os
import random
import ssl
import sys
from collections.abc import Sequence

import trio

from haclient.core.balance import Candidate, arrange, connection_attempt_delay
from haclient.core.keepalive import Plan, Refusal
from haclient.core.race import RaceSettings
from haclient.core.spec import Target, TlsSettings
from haclient.net import Resolver
from haclient.net.resolver import SystemResolver
from haclient.net.tls import make_context
from haclient.ops.command_line import CommandError, CommandParser, duration
from haclient.ops.doctor_checks import caps_window_probes
from haclient.ops.exit_codes import ExitCode
from haclient.ops.explain_race import Name, connect_to_all, resolve_all, who_wins
from haclient.ops.explain_resend import resends
from haclient.ops.explain_text import Explanation, as_json, lines
from haclient.ops.routes import proxy_for
from haclient.ops.settings import read_nameservers, read_target
from haclient.ops.style import Style, json_text
from haclient.types import ConnectFailure, Order, Origin

__all__ = ["build_parser", "explain", "run"]


def build_parser() -> CommandParser:
    """Returns the command's parser."""
    parser = CommandParser(
        "haclient explain",
        usage="%(prog)s [options] URL | -c FILE TARGET",
        description="What a request to URL would do, without sending one: its addresses, a connect "
        "to each of them, what the window adds up to, and which methods would be sent again.",
        epilog="Exits as the request would: 0, or curl's 6, 7, 28, 35, 60; 78 if the window cannot "
        "be kept.",
    )
    add = parser.add_argument
    add("urls", nargs="*", metavar="URL", help="where the request would go")
    add("-c", "--config", metavar="FILE", help="explain a target of this file, given by its name")
    add(
        "--backup",
        dest="backups",
        action="append",
        default=[],
        metavar="URL",
        help="another server for the same request, asked when the first cannot answer",
    )
    add(
        "--window",
        type=duration,
        default=4.0,
        metavar="DURATION",
        help="a dead server's request is with another one within this (4s)",
    )
    add(
        "--order",
        choices=[order.value for order in Order],
        default=Order.FASTEST.value,
        metavar="ORDER",
        help="which address first: fastest (races them all), listed, shuffled",
    )
    add(
        "--connect-timeout",
        type=duration,
        default=1.0,
        metavar="SECONDS",
        help="for each connection attempt (1)",
    )
    add("-k", "--insecure", action="store_true", help="do not verify the certificate")
    add("--cacert", metavar="FILE", help="trust these authorities instead of the system's")
    add("--json", action="store_true", help="print JSON")
    add("-h", "--help", action="help", help="print this")
    return parser


def run(argv: list[str]) -> int:
    """Prints the explanation; returns the exit code that the request would have had."""
    parser = build_parser()
    options = parser.parse_args(parser.canonical(argv))
    if not options.urls:
        raise CommandError("no URL: write 'haclient explain URL', or see 'haclient explain --help'")
    is_configured = options.config is not None
    target = _configured(options) if is_configured else _target(options)
    nameservers = read_nameservers(options.config) if is_configured else None
    found = trio.run(explain, target, SystemResolver(nameservers=nameservers))
    if options.json:
        sys.stdout.write(json_text(as_json(found)))
    else:
        style = Style.of(sys.stdout, os.environ)
        sys.stdout.write("".join(f"{line}\n" for line in lines(found, style)))
    return exit_code(found)


def _target(options: argparse.Namespace) -> Target:
    """What the command line says."""
    try:
        return Target(
            urls=options.urls,
            backups=options.backups,
            order=options.order,
            window=options.window,
            connect_timeout=options.connect_timeout,
            tls=TlsSettings(ca_file=options.cacert, verify=not options.insecure),
        )
    except ValueError as error:
        raise CommandError(str(error)) from None


def _configured(options: argparse.Namespace) -> Target:
    """The file's target of that name, as it is; other options would contradict it."""
    given = build_parser().parse_args([])
    beside = [
        name
        for name in ("backups", "window", "order", "connect_timeout", "insecure", "cacert")
        if getattr(options, name) != getattr(given, name)
    ]
    if beside or len(options.urls) != 1:
        raise CommandError("with -c, name one target of the file, and no other settings")
    return read_target(options.config, options.urls[0])


async def explain(target: Target, resolver: Resolver) -> Explanation:
    """Finds everything out; sends no request.

    Raises:
        haclient.net.tls.TlsFileError: the CA file cannot be used.
    """
    names = await resolve_all(target.urls, target.backups, resolver)
    tiers = [_candidates(target, names, is_backup) for is_backup in (False, True)]
    secure = {one.origin for tier in tiers for one in tier if one.origin.is_secure}
    contexts: dict[Origin, ssl.SSLContext] = (
        dict.fromkeys(secure, make_context(target.tls)) if secure else {}
    )
    tried = await connect_to_all([*tiers[0], *tiers[1]], contexts, target.connect_timeout)
    settings = RaceSettings(
        connection_attempt_delay=connection_attempt_delay(
            target.order, target.connection_attempt_delay
        ),
        width=target.race_width,
        connect_timeout=target.connect_timeout,
    )
    first, backups = tried[: len(tiers[0])], tried[len(tiers[0]) :]
    slowest = max((one for one in tried if one.is_usable), key=lambda one: one.rtt, default=None)
    rtt, rttvar = (slowest.rtt, slowest.rttvar) if slowest is not None else (0.0, 0.0)
    plan = Plan.for_window(target.window, target.connect_timeout, rtt, rttvar, caps_window_probes())
    addresses = {one.endpoint for one in tried}
    return Explanation(
        target,
        names,
        tried,
        who_wins(first, settings) or who_wins(backups, settings),
        plan,
        rtt,
        () if target.is_tcp else resends(target, is_elsewhere=len(addresses) > 1),
        "" if target.is_tcp else _proxy(target),
    )


def _candidates(target: Target, names: Sequence[Name], is_backup: bool) -> list[Candidate]:
    """The addresses of one tier, in the order in which they would start."""
    return arrange(
        [
            (name.url.origin, endpoint)
            for name in names
            if name.is_backup is is_backup
            for endpoint in name.endpoints
        ],
        order=target.order,
        is_held_down=lambda _: False,
        chance=random.random,
    )


def _proxy(target: Target) -> str:
    proxy = proxy_for(target.urls[0], None, None, os.environ)
    return str(proxy.origin) if proxy is not None else ""


def exit_code(found: Explanation) -> ExitCode:
    """As the request would have exited."""
    if not found.tried:
        return ExitCode.HOST_NOT_RESOLVED
    if found.winner is None:
        failures = {one.attempt.failure for one in found.tried}
        if ConnectFailure.CERTIFICATE in failures:
            return ExitCode.PEER_CERTIFICATE
        if ConnectFailure.TLS in failures:
            return ExitCode.TLS_FAILED
        if failures == {ConnectFailure.TIMED_OUT}:
            return ExitCode.TIMED_OUT
        return ExitCode.NOT_CONNECTED
    if isinstance(found.plan, Refusal):
        return ExitCode.CONFIGURATION
    return ExitCode.OK
