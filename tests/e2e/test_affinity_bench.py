"""What the bench of affinity and failback calls a promise that was kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.affinity import Asked, Moves, Returns

CLIENTS = 600


def moves(of_first: int) -> Moves:
    """Three servers; so many clients of the first, which leaves."""
    before = {n: "s0" if n < of_first else f"s{1 + n % 2}" for n in range(CLIENTS)}
    after = {n: "s1" if name == "s0" else name for n, name in before.items()}
    return Moves("s0", 3, before, after, never_had_it=after, other_order=before)


@pytest.mark.parametrize(
    ("of_first", "is_kept"), [(0, True), (200, True), (246, True), (247, False)]
)
def test_more_than_a_fair_share_and_its_noise(of_first: int, is_kept: bool) -> None:
    assert moves(of_first).is_kept is is_kept


def test_nobody_else_may_move_fail_or_be_elsewhere() -> None:
    found, last = moves(200), CLIENTS - 1
    changed = found.after | {last: "s1" if found.after[last] == "s2" else "s2"}
    assert not replace(found, after=changed, never_had_it=changed).is_kept
    assert not replace(found, never_had_it=changed).is_kept
    assert not replace(found, other_order=found.before | {0: "s1"}).is_kept
    failed = found.after | {0: "502"}
    assert not replace(found, after=failed, never_had_it=failed).is_kept


def rounds(*asked: Asked) -> Returns:
    found = Returns()
    found.add(list(asked), "s0", back_at=10.0)
    return found


BACKUP_SAYS, BACK = Asked(9.0, 0.1, "s1"), Asked(10.5, 0.1, "s0")


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        ([BACK], True),
        ([BACK, Asked(11.9, 0.1, "s1")], True),
        ([BACK, Asked(12.1, 0.1, "s1")], False),
        ([Asked(12.1, 0.1, "s0")], False),
        ([], False),
        ([BACK, Asked(10.6, 0.1, "")], False),
    ],
)
def test_the_server_is_asked_again_in_time_and_nobody_fails(
    later: list[Asked], is_kept: bool
) -> None:
    assert rounds(BACKUP_SAYS, *later).is_kept is is_kept
