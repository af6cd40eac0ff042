"""Mutations of wires, for Hypothesis: it shrinks a failure to the fewest of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.fuzz.seeds import WORDS

__all__ = ["mutated", "pieces_of"]

MOST_CUTS = 4


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One or two wires, one behind the other, changed in up to four places."""
    data = bytearray(draw(st.sampled_from(seeds)))
    if draw(st.booleans()):
        data += draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        _change(draw, data)
    return bytes(data)


def _change(draw: st.DrawFn, data: bytearray) -> None:
    at = draw(st.integers(0, len(data)))
    end = min(len(data), at + draw(st.integers(0, 12)))
    match draw(st.sampled_from(("word", "insert", "replace", "delete", "double", "end", "move"))):
        case "word":
            data[at:at] = draw(st.sampled_from(WORDS))
        case "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        case "replace":
            data[at:end] = draw(st.sampled_from(WORDS))
        case "delete":
            del data[at:end]
        case "double":
            data[at:at] = data[at:end] * draw(st.sampled_from((1, 2, 40)))
        case "end":
            del data[at:]
        case "move":
            part = bytes(data[at:end])
            del data[at:end]
            to = draw(st.integers(0, len(data)))
            data[to:to] = part


@st.composite
def pieces_of(draw: st.DrawFn, seeds: Sequence[bytes]) -> tuple[bytes, ...]:
    """A mutated wire, cut anywhere."""
    data = draw(mutated(seeds))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=MOST_CUTS)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return tuple(piece for piece in pieces if piece)
