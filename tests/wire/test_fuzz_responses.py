"""Mutated responses, cut anywhere: passed on as they are, or seen not to be whole, and nothing is left."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzz_responses import one
from tests.fuzz.guided import CORPUS
from tests.fuzz.mutations import pieces_of
from tests.fuzz.responses import ENDS, METHODS, check_response
from tests.fuzz.seeds import response_seeds

SEEDS = response_seeds()


@given(pieces_of(SEEDS), st.sampled_from(METHODS), st.sampled_from(ENDS))
def test_any_response(pieces: tuple[bytes, ...], method: str, end: str) -> None:
    check_response(pieces, method, end)


def test_the_seeds_are_of_every_kind() -> None:
    became = Counter(check_response((seed,), "GET", "fin") for seed in SEEDS)
    assert set(became) == {"passed", "own", "broken"}
    assert became["passed"] > 0.2 * len(SEEDS)


def test_what_the_guided_fuzzer_kept() -> None:
    kept = sorted((CORPUS / "responses").iterdir())
    assert len(kept) > 20
    for path in kept:
        one(path.read_bytes())
