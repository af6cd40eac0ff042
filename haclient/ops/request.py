"""`haclient request`: one highly available request, with curl's options.

The options are read first and nothing else is imported for them: `--help` and a mistyped option take
a tenth of the time that a request does. What carries it out is in `transfers`.
"""

from __future__ import annotations

from haclient.ops.importing import ends_at_once
from haclient.ops.options import parse_options

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Carries out every URL of the command line; returns the last one's exit code."""
    options = parse_options(argv)
    with ends_at_once():
        from haclient.ops.transfers import carry_out

    return carry_out(options)
