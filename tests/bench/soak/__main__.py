"""The command line of the soak."""

from __future__ import annotations

import argparse
import sys

import trio

from tests.bench.soak.history import Ended
from tests.bench.soak.run import soak
from tests.bench.tables import print_table

SHOWN = 10
"""Faults that are printed in full."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=20, help="visits a second")
    parser.add_argument("--excused", action="store_true", help="print what was excused, too")
    args = parser.parse_args()
    report = trio.run(soak, args.seconds, args.seed, args.rate)
    head = ["clients", "sent", *(end.value for end in Ended)]
    print_table(f"Soak of {args.seconds:g} s, {args.rate:g} visits a second", head, report.rows())
    print_table("Of the run", ["what", "figure"], report.figures())
    for line in report.history.excused() if args.excused else ():
        print(f"\n{line}")
    faults = list(report.faults())
    for fault in faults[:SHOWN]:
        print(f"\nseed {args.seed}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
