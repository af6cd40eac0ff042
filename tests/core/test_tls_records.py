"""Where TLS records end, however they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.tls_records import AT_ONCE, MOST_SILENT, Records, Silence


def record(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def pieces(records: Records, data: bytes) -> list[tuple[int, int]]:
    found = []
    while data:
        size, ended = records.cut(data)
        found.append((size, ended))
        data = data[size:]
    return found


def test_records_of_bulk_are_one_piece() -> None:
    data = record(16_401) * 4
    assert pieces(Records(), data) == [(len(data), 4)]


def test_small_ones_are_cut() -> None:
    assert pieces(Records(), record(22) * 70) == [(27 * AT_ONCE, 32), (27 * AT_ONCE, 32), (162, 6)]


def test_one_that_comes_in_parts() -> None:
    records, data = Records(), record(100)
    assert records.cut(data[:3]) == (3, 0)
    assert records.cut(data[3:10]) == (7, 0)
    assert repr(records) == "<Records, 95 bytes of one to come>"
    assert records.cut(data[10:] + data[:1]) == (96, 1)
    assert records.cut(data[1:]) == (104, 1)


def test_empty_ones_are_records() -> None:
    assert pieces(Records(), record(0) * (AT_ONCE + 1)) == [(5 * AT_ONCE, AT_ONCE), (5, 1)]


@pytest.mark.parametrize(("count", "is_too_long"), [(MOST_SILENT, False), (MOST_SILENT + 1, True)])
def test_each_record_is_silent_until_it_says_something(count: int, is_too_long: bool) -> None:
    silence = Silence()
    silence.note_ended(count - 1)
    silence.note_ended(1)
    assert silence.is_too_long is is_too_long
    assert silence.records == count


def test_those_of_a_handshake_do_not_count() -> None:
    silence = Silence()
    silence.note_ended(MOST_SILENT + 1)
    silence.forget()
    assert not silence.is_too_long
    assert repr(silence) == "<Silence, 0 records>"


@pytest.mark.parametrize(
    ("silent", "rounds"),
    [
        pytest.param(0, None, id="all have content"),
        pytest.param(1, None, id="every second one"),
        pytest.param(2, MOST_SILENT - 1, id="one in three"),
        pytest.param(31, 2, id="one in a piece"),
    ],
)
def test_content_makes_up_for_one_record_beside_its_own(silent: int, rounds: int | None) -> None:
    silence, done = Silence(), 0
    while not silence.is_too_long and done < 1000:
        silence.note_ended(silent + 1)
        done += 1
        if not silence.is_too_long:
            silence.note_content()
    assert done == (rounds or 1000)


def test_content_is_not_saved_up() -> None:
    silence = Silence()
    for _ in range(1000):
        silence.note_ended(1)
        silence.note_content()
    silence.note_ended(MOST_SILENT + 1)
    assert silence.is_too_long


@given(st.lists(st.integers(0, 300), max_size=80), st.lists(st.integers(1, 2000), max_size=40))
def test_however_they_come_in(sizes: list[int], cuts: list[int]) -> None:
    data, records, ended = b"".join(map(record, sizes)), Records(), 0
    for cut in [*cuts, len(data)]:
        coming, data = data[:cut], data[cut:]
        found = pieces(records, coming)
        assert sum(size for size, _ in found) == len(coming)
        assert all(count <= AT_ONCE for _, count in found)
        ended += sum(count for _, count in found)
    assert ended == len(sizes)
