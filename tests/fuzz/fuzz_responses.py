"""python -m tests.fuzz.fuzz_responses [options of libFuzzer] [CORPUS]

Three bytes in front say what is asked, how the server ends, and where the rest is cut.
"""

from __future__ import annotations

from tests.fuzz.guided import fuzz
from tests.fuzz.responses import ENDS, METHODS, check_response
from tests.fuzz.seeds import response_seeds


def one(data: bytes) -> None:
    """One input."""
    if len(data) > 3:
        how, cut, wire = data[0], int.from_bytes(data[1:3], "big"), data[3:]
        at = cut % (len(wire) + 1)
        method, end = METHODS[how % 3], ENDS[how // 3 % 3]
        check_response([piece for piece in (wire[:at], wire[at:]) if piece], method, end)


if __name__ == "__main__":
    fuzz(one, "responses", [b"\3\0\0" + seed for seed in response_seeds()])
