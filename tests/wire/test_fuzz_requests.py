"""Mutated requests, cut anywhere: forward, a refusal or the end, and what is forwarded is what was sent."""

from __future__ import annotations

from hypothesis import example, given

from tests.fuzz.fuzz_requests import one
from tests.fuzz.guided import CORPUS
from tests.fuzz.mutations import pieces_of
from tests.fuzz.requests import check_requests
from tests.fuzz.seeds import request_seeds

SEEDS = request_seeds()


@given(pieces_of(SEEDS))
@example(
    (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"\r\n", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
)
@example((b"\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",))
def test_any_requests(pieces: tuple[bytes, ...]) -> None:
    check_requests(pieces)


def test_the_seeds_reach_a_server() -> None:
    """What is refused at once tells nothing of what is behind the head."""
    passed = sum(check_requests((seed,)) > 0 for seed in SEEDS)
    assert passed > 0.2 * len(SEEDS)


def test_what_the_guided_fuzzer_kept() -> None:
    kept = sorted((CORPUS / "requests").iterdir())
    assert len(kept) > 20
    for path in kept:
        one(path.read_bytes())
