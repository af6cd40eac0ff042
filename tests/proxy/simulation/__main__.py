"""See the package's docstring."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.proxy.simulation import __doc__ as about
from tests.proxy.simulation.run import Verdict, run_seed


def main() -> int:
    """Runs so many seeds, or one; 1 where one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proxy.simulation",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=300, metavar="N", help="seeds 0 to N-1")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first one")
    parser.add_argument("--seed", type=int, metavar="N", help="this one, with its journal")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    if args.seed is not None:
        verdict = run_seed(args.seed)
        print("\n".join(verdict.lines))
        return tell([verdict])
    seeds = range(args.first, args.first + args.seeds)
    if args.processes == 1:
        return tell([run_seed(seed) for seed in seeds])
    with ProcessPoolExecutor(args.processes) as pool:
        return tell(list(pool.map(run_seed, seeds, chunksize=50)))


def tell(verdicts: list[Verdict]) -> int:
    """Each seed that failed, and how it is run again."""
    failed = [verdict for verdict in verdicts if verdict.wrong]
    for verdict in failed:
        print(f"seed {verdict.seed} failed; python -m tests.proxy.simulation --seed {verdict.seed}")
        for what in verdict.wrong:
            print(f"    {what}")
    requests = sum(verdict.requests for verdict in verdicts)
    answered = sum(verdict.answered for verdict in verdicts)
    print(
        f"{len(verdicts)} seeds, {requests} requests, {answered} answered whole, {len(failed)} failed"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
