"""See the package's docstring."""

from __future__ import annotations

import argparse
import resource
import sys
from functools import partial

import trio

from tests.bench.abuse import __doc__ as about
from tests.bench.abuse.content import CONTENT
from tests.bench.abuse.crowds import CROWDS
from tests.bench.abuse.heads import HEADS
from tests.bench.abuse.run import HEAD, measure
from tests.bench.abuse.servers import SERVERS
from tests.bench.abuse.stale import STALE
from tests.bench.tables import print_table

ABUSES = (*HEADS, *CONTENT, *CROWDS, *SERVERS, *STALE)


def main() -> int:
    """Prints a table; 1 where an abuse does not reach what it must."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.abuse", description=about)
    parser.add_argument("--only", metavar="NAME", help="those whose name has this in it")
    parser.add_argument("--crowd", type=int, default=500)
    parser.add_argument("--log", choices=("text", "json"), default="text")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows, has_failed = [], False
    for abuse in ABUSES:
        if args.only is None or args.only in abuse.name:
            measured = trio.run(partial(measure, abuse, crowd=args.crowd, log=args.log))
            rows.append(measured.row)
            has_failed = has_failed or bool(measured.failures)
            print(f"{abuse.name}: {measured.row[-1]}", file=sys.stderr, flush=True)
    print_table("The daemon under abuse", HEAD, rows)
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
