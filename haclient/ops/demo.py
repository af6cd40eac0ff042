"""`haclient demo`: a proof for somebody who has just installed it.

No root, no network, nothing to set up: three servers are started as processes of their own on three
loopback addresses, under one name, and a sidecar in front of them. Steady requests go to the
sidecar, from a client that tries once. One server is killed, one is blackholed in mid-request (for
real: its kernel drops all that arrives, haclient.net.blackhole), one is merely slow. The timeline is
that of haclient's own events; the table at the end is counted from what the client was told and from
what the servers executed, and the exit code is 1 if a promise did not hold.

    demo_origin     one server: a process                 demo_servers   the three, held by their parent
    demo_sidecar    the doors to them                     demo_client    knows nothing of failover
    demo_load       the steady requests                   demo_scenes    what happens, in which order
    demo_narrator   events, told for a spectator          demo_screen    a terminal, or plain lines
    demo_figures    what was counted, and whether the promises held

Left out: faults that need root or a second machine (a pulled cable, packet loss). For these see
tests/e2e.
"""

from __future__ import annotations

import os
import sys

import trio

from haclient.ops.command_line import CommandParser
from haclient.ops.demo_figures import Figures, reckon
from haclient.ops.demo_scenes import FULL, QUICK, Pace, Play
from haclient.ops.demo_screen import Screen, screen_for
from haclient.ops.demo_servers import CannotPlay, free_port, running
from haclient.ops.exit_codes import ExitCode
from haclient.ops.style import json_text

__all__ = ["ADDRESSES", "build_parser", "run"]

ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
"""Linux answers on all of 127.0.0.0/8 (RFC 1122, section 3.2.1.3, item g), without setting one up."""

BROKEN_PROMISE = 1


def build_parser() -> CommandParser:
    """Returns the command's parser."""
    parser = CommandParser(
        "haclient demo",
        usage="%(prog)s [--quick] [--json]",
        description="Three servers on this machine, a sidecar, steady requests, and three faults: one "
        "server is killed, one blackholed in mid-request, one merely slow. Takes 20 s; needs no "
        "root and no network.",
        epilog="Exits with 0 if every request of the load was answered, none ran twice and no slow server was "
        "given up, else with 1.",
    )
    parser.add_argument("--quick", action="store_true", help="the same in 8 s")
    parser.add_argument(
        "--json", action="store_true", help="the figures as JSON on stdout, the timeline on stderr"
    )
    parser.add_argument("-h", "--help", action="help", help="print this")
    return parser


def run(argv: list[str]) -> int:
    """Plays, and returns 0 if the promises held."""
    options = build_parser().parse_args(argv)
    screen = screen_for(sys.stderr if options.json else sys.stdout, os.environ)
    try:
        figures = trio.run(show, screen, QUICK if options.quick else FULL)
    except (CannotPlay, BaseExceptionGroup) as caught:
        first = first_of(caught)
        if not isinstance(first, CannotPlay):
            raise first from None
        sys.stderr.write(f"haclient: the demo cannot be shown: {first}\n")
        return BROKEN_PROMISE
    screen.finale(figures)
    if options.json:
        sys.stdout.write(json_text(figures.as_json()))
    return ExitCode.OK if figures.have_held else BROKEN_PROMISE


async def show(screen: Screen, pace: Pace) -> Figures:
    """The whole performance; every process that it started is gone when it returns or raises.

    Raises:
        ExceptionGroup: of CannotPlay.
    """
    port = free_port(ADDRESSES)
    async with running(ADDRESSES, port) as servers:
        play = Play(servers, screen, pace)
        try:
            load = await play.perform()
        finally:
            screen.close()
        # The servers' reports of the last requests are under way until they are gone.
        for server in servers:
            await server.kill()
        assert play.doomed is not None
        return reckon(play.scenes, load.samples, play.doomed, servers)


def first_of(error: BaseException) -> BaseException:
    """The error itself, out of the groups that nurseries have put it into."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
