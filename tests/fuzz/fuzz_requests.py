"""python -m tests.fuzz.fuzz_requests [options of libFuzzer] [CORPUS]

A byte or two in front say where the rest is cut, so that the fuzzer chooses that, too.
"""

from __future__ import annotations

from tests.fuzz.guided import fuzz
from tests.fuzz.requests import check_requests
from tests.fuzz.seeds import request_seeds


def one(data: bytes) -> None:
    """One input."""
    if len(data) > 2:
        cut, wire = int.from_bytes(data[:2], "big"), data[2:]
        at = cut % (len(wire) + 1)
        check_requests([piece for piece in (wire[:at], wire[at:]) if piece])


if __name__ == "__main__":
    fuzz(one, "requests", [b"\0\0" + seed for seed in request_seeds()])
